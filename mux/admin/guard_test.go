package admin

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux/trail"
)

const testToken = "0123456789abcdef"

// nothing is a Control that does nothing.
type nothing struct{ Control }

func (n nothing) Status() Status { return Status{Providers: []Provider{{Name: "login"}}} }
func (n nothing) Search(trail.Query) *trail.Found {
	return &trail.Found{Decisions: []*trail.Decision{}}
}

// ask makes a request of h as somebody who is at 127.0.0.1:9080.
func ask(h http.Handler, method, path string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "127.0.0.1:9080"
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// all makes several changes to a request.
func all(changes ...func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) {
		for _, c := range changes {
			c(r)
		}
	}
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

// login gives a session's cookie.
func login(t *testing.T, h http.Handler) *http.Cookie {
	t.Helper()
	w := ask(h, "POST", "/login", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"token":"` + testToken + `"}`)) })
	cookies := w.Result().Cookies()
	if w.Code != 200 || len(cookies) != 1 {
		t.Fatalf("login: %d %s", w.Code, w.Body)
	}
	return cookies[0]
}

func TestWhoMayAskWhat(t *testing.T) {
	t.Parallel()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metric 1\n") })
	h := newHandler(nothing{}, Options{Token: testToken, Metrics: metrics}, nil)
	open := newHandler(nothing{}, Options{Token: testToken, Metrics: metrics, OpenMetrics: true}, nil)
	socket := newHandler(nothing{}, Options{Metrics: metrics}, nil)
	bearer := header("Authorization", "Bearer "+testToken)
	session := login(t, h)
	cookie := func(r *http.Request) { r.AddCookie(session) }
	change := header("X-Hookmux", "1")
	if !session.HttpOnly || session.SameSite != http.SameSiteStrictMode || strings.Contains(session.Value, testToken) {
		t.Errorf("cookie: %v", session)
	}
	const restart = "/v1/providers/nobody/frob" // no such verb: allowed is 404
	for _, c := range []struct {
		what         string
		h            http.Handler
		method, path string
		change       func(*http.Request)
		want         int
	}{
		{"nothing", h, "GET", "/v1/status", nil, 401},
		{"no token", h, "GET", "/v1/status", header("Authorization", "Bearer "), 401},
		{"another token", h, "GET", "/v1/status", header("Authorization", "Bearer "+testToken+"x"), 401},
		{"another scheme", h, "GET", "/v1/status", header("Authorization", "Basic "+testToken), 401},
		{"the token", h, "GET", "/v1/status", bearer, 200},
		{"a session", h, "GET", "/v1/status", cookie, 200},
		{"no session", h, "GET", "/v1/status", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: sessionCookie, Value: "9999999999.AAAA"}) }, 401},
		{"another's session", open, "GET", "/v1/status", cookie, 401},
		{"decisions", h, "GET", "/v1/decisions", nil, 401},
		{"tail", h, "GET", "/v1/tail", nil, 401},
		{"profiles", h, "GET", "/debug/pprof/", nil, 401},
		{"profiles with the token", h, "GET", "/debug/pprof/goroutine?debug=1", bearer, 200},
		{"metrics", h, "GET", "/metrics", nil, 401},
		{"metrics with the token", h, "GET", "/metrics", bearer, 200},
		{"open metrics", open, "GET", "/metrics", nil, 200},
		{"no metrics", newHandler(nothing{}, Options{}, nil), "GET", "/metrics", nil, 404},
		{"health", h, "GET", "/healthz", nil, 200},
		{"readiness", h, "GET", "/readyz", nil, 503},
		{"the page", h, "GET", "/", nil, 200},
		{"the description", h, "GET", "/openapi.yaml", nil, 200},
		{"what is not there", h, "GET", "/../etc/passwd", nil, 404},

		{"a change by nobody", h, "POST", "/v1/reload", nil, 401},
		{"a change with a session alone", h, "POST", "/v1/reload", cookie, 403},
		{"a change of what is not there, with a session", h, "POST", restart, all(cookie, change), 404},
		{"a change from another site, with the header", h, "POST", restart, all(cookie, change, header("Sec-Fetch-Site", "cross-site")), 403},
		{"a change from another port of this machine", h, "POST", restart, all(cookie, change, header("Origin", "http://127.0.0.1:8000")), 403},
		{"a change from the page", h, "POST", restart, all(cookie, change, header("Origin", "http://127.0.0.1:9080"), header("Sec-Fetch-Site", "same-origin")), 404},

		{"a name that leads here", h, "GET", "/v1/status", all(bearer, host("evil.example:9080")), 403},
		{"a name that leads here, for the page", h, "GET", "/", host("evil.example"), 403},
		{"localhost", h, "GET", "/v1/status", all(bearer, host("LOCALHOST:1")), 200},
		{"IPv6", h, "GET", "/v1/status", all(bearer, host("[::1]:9080")), 200},
		{"IPv6 without a port", h, "GET", "/v1/status", all(bearer, host("[::1]")), 200},
		{"another machine", h, "GET", "/v1/status", all(bearer, host("10.0.0.1:9080")), 403},
		{"no host", h, "GET", "/v1/status", all(bearer, host("")), 403},

		{"a socket", socket, "GET", "/v1/status", host("hookmux"), 200},
		{"a socket's metrics", socket, "GET", "/metrics", host("hookmux"), 200},
		{"a socket's changes", socket, "POST", restart, host("hookmux"), 404},
	} {
		w := ask(c.h, c.method, c.path, c.change)
		if w.Code != c.want {
			t.Errorf("%s: %s %s is answered %d, want %d: %s", c.what, c.method, c.path, w.Code, c.want, w.Body)
		}
		if kind := w.Header().Get("Content-Type"); w.Code >= 400 && (kind != "application/json" || !strings.HasPrefix(w.Body.String(), `{"error":{"code":`) && c.path != "/readyz") {
			t.Errorf("%s: the error is %s: %s", c.what, kind, w.Body)
		}
		for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Cache-Control"} {
			if w.Header().Get(name) == "" {
				t.Errorf("%s: no %s", c.what, name)
			}
		}
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	h := newHandler(nothing{}, Options{Token: testToken}, nil)
	secret := h.guard.secret.Load()
	now := time.Now()
	for _, c := range []struct {
		value string
		at    time.Time
		want  bool
	}{
		{secret.session(now.Add(time.Hour)), now, true},
		{secret.session(now.Add(time.Hour)), now.Add(2 * time.Hour), false},
		{"", now, false},
		{"x.y", now, false},
		{strings.Replace(secret.session(now.Add(time.Hour)), ".", "0.", 1), now, false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: "somebody else's"})
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: c.value})
		if got := secret.hasSession(r, c.at); got != c.want {
			t.Errorf("%q: %v", c.value, got)
		}
	}
	form := all(header("Content-Type", "application/x-www-form-urlencoded"), func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("token=" + testToken)) })
	if w := ask(h, "POST", "/login", form); w.Code != 303 || w.Header().Get("Location") != "/" || w.Header().Get("Set-Cookie") == "" {
		t.Errorf("a form: %d %v", w.Code, w.Header())
	}
	for body, want := range map[string]int{`{"token":"wrong"}`: 401, `{"token":""}`: 400, `{}`: 400, `token`: 400, strings.Repeat("[", maxBody+1): 400} {
		w := ask(h, "POST", "/login", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(body)) })
		if w.Code != want || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%.20q: %d", body, w.Code)
		}
	}
	if w := ask(h, "POST", "/logout", nil); w.Code != 200 || !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("logout: %v", w.Header())
	}
	if w := ask(h, "POST", "/login", header("Sec-Fetch-Site", "cross-site")); w.Code != 403 {
		t.Errorf("login from another site: %d", w.Code)
	}
}

// With TLS the machine may have any name, and a session is for TLS alone.
func TestWithTLS(t *testing.T) {
	t.Parallel()
	h := newHandler(nothing{}, Options{Token: testToken, TLS: new(tls.Config)}, nil)
	if c := login(t, h); !c.Secure {
		t.Errorf("cookie: %v", c)
	}
	if w := ask(h, "GET", "/v1/status", all(host("mqtt-1.example:9080"), header("Authorization", "Bearer "+testToken))); w.Code != 200 {
		t.Errorf("by name: %d %s", w.Code, w.Body)
	}
	if w := ask(h, "POST", "/v1/reload", all(host("mqtt-1.example:9080"), header("Origin", "https://evil.example"))); w.Code != 403 {
		t.Errorf("from another site: %d %s", w.Code, w.Body)
	}
}

// Another token counts at once, and the sessions of the old one do not.
func TestAnotherToken(t *testing.T) {
	t.Parallel()
	h := newHandler(nothing{}, Options{Token: testToken}, nil)
	session := login(t, h)
	h.guard.set("fedcba9876543210")
	for want, change := range map[int]func(*http.Request){200: header("Authorization", "Bearer fedcba9876543210"), 401: all(header("Authorization", "Bearer "+testToken), func(r *http.Request) { r.AddCookie(session) })} {
		if w := ask(h, "GET", "/v1/status", change); w.Code != want {
			t.Errorf("%d, want %d", w.Code, want)
		}
	}
}

func TestListenOnlyHere(t *testing.T) {
	t.Parallel()
	for _, address := range []string{":0", "0.0.0.0:0", "10.0.0.1:0", "example.com:0", "[::]:0"} {
		if l, err := ListenTCP(address, false); err == nil || !strings.Contains(err.Error(), "needs TLS") {
			t.Errorf("%s: %v", address, err)
			if l != nil {
				_ = l.Close()
			}
		}
	}
	l, err := ListenTCP("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := ListenTCP(l.Addr().String(), false); err == nil || !strings.Contains(err.Error(), "is taken, perhaps by another hookmux") {
		t.Errorf("error: %v", err)
	}
}
