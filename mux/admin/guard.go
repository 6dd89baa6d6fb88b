package admin

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// guard says who may ask. Without a token everybody who can connect may.
type guard struct {
	secret  atomic.Pointer[secret] // nil: there is no token
	secure  bool                   // there is TLS
	foreign *http.CrossOriginProtection
}

// secret is what who may ask knows.
type secret struct {
	token string
	key   [32]byte // of the sessions; new with every token and start, so that none outlives it
}

// sessionCookie is what a browser has instead of the token: other servers of this
// machine get to see it, too, since browsers do not tell ports apart.
const (
	sessionCookie = "hookmux_session"
	sessionTime   = 12 * time.Hour
)

func newGuard(token string, secure bool) *guard {
	g := &guard{secure: secure, foreign: http.NewCrossOriginProtection()}
	if token != "" {
		g.set(token)
	}
	g.foreign.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, "forbidden", "another site had the browser ask this")
	}))
	return g
}

func (g *guard) set(token string) {
	s := &secret{token: token}
	_, _ = rand.Read(s.key[:]) // which never fails
	g.secret.Store(s)
}

// outer is around all requests.
func (g *guard) outer(next http.Handler) http.Handler {
	if g.secret.Load() != nil {
		next = g.foreign.Handler(next)
		if !g.secure { // with TLS, the browser holds the name against the certificate
			next = hosts(next)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// hosts refuses requests for other names than this machine's own: a site whose name
// leads here could else have a browser ask as if it were the page.
func hosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) {
			fail(w, "forbidden", "ask for this machine by its own name: http://127.0.0.1, http://[::1] or http://localhost, with the port")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopback says whether a host, with or without a port, is this machine in its own
// words.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// inner is around the requests for which one has to be somebody.
func (g *guard) inner(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch s := g.secret.Load(); {
		case s == nil:
		case s.inHeader(r):
		case !s.hasSession(r, time.Now()):
			w.Header().Set("WWW-Authenticate", `Bearer realm="hookmux"`)
			fail(w, "unauthorized", "this needs the token: send it as \"Authorization: Bearer TOKEN\", or log in on the page")
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Header.Get("X-Hookmux") == "":
			fail(w, "forbidden", "a change needs the header X-Hookmux: 1")
			return
		}
		patient(w)
		next.ServeHTTP(w, r)
	})
}

func (s *secret) inHeader(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && s.isToken(strings.TrimSpace(token))
}

// isToken takes the same time whatever it is given.
func (s *secret) isToken(token string) bool {
	want, got := sha256.Sum256([]byte(s.token)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// session is a cookie's value that is good until end.
func (s *secret) session(end time.Time) string {
	until := strconv.FormatInt(end.Unix(), 10)
	sum := hmac.New(sha256.New, s.key[:])
	_, _ = sum.Write([]byte(until))
	return until + "." + base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}

func (s *secret) hasSession(r *http.Request, now time.Time) bool {
	// Another server of this machine may have set one of the same name for another path.
	for _, c := range r.CookiesNamed(sessionCookie) {
		until, _, _ := strings.Cut(c.Value, ".")
		end, err := strconv.ParseInt(until, 10, 64)
		if err == nil && now.Unix() < end && hmac.Equal([]byte(c.Value), []byte(s.session(time.Unix(end, 0)))) {
			return true
		}
	}
	return false
}

// login gives a session for the token: {"token": "…"} as JSON, or as a form, which
// leads back to the page.
func (g *guard) login(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Token string `json:"token"`
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	form := kind == "application/x-www-form-urlencoded"
	if form {
		body.Token = r.PostFormValue("token")
	} else {
		_ = json.NewDecoder(r.Body).Decode(&body) // then there is no token
	}
	if body.Token == "" {
		fail(w, "bad_request", `the token is expected as {"token": "…"} with Content-Type: application/json, or as a form's field token`)
		return
	}
	if s := g.secret.Load(); s != nil {
		if !s.isToken(strings.TrimSpace(body.Token)) {
			fail(w, "unauthorized", "this is not the token")
			return
		}
		http.SetCookie(w, g.cookie(s.session(time.Now().Add(sessionTime)), int(sessionTime/time.Second)))
	}
	if form {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	reply(w, http.StatusOK, struct{}{})
}

func (g *guard) logout(w http.ResponseWriter, _ *http.Request) {
	http.SetCookie(w, g.cookie("", -1))
	reply(w, http.StatusOK, struct{}{})
}

func (g *guard) cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: g.secure, SameSite: http.SameSiteStrictMode}
}
