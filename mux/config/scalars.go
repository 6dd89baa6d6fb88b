package config

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// duration is a time with a unit.
func duration(into *time.Duration, least, most time.Duration) value {
	v := value{expects: fmt.Sprintf("a duration from %s to %s, such as 500ms or 5s", span(least), span(most)),
		schema: patternSchema(`^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$`)}
	v.read = func(r *reader, path string, n *node) {
		if n.kind == integer || n.kind == decimal {
			r.fail(n.line, path, "expected %s; found a number without a unit, %s", v.expects, quote(n.text))
			return
		}
		if !r.isShown(text, path, n, v.expects) {
			return
		}
		d, err := time.ParseDuration(n.text)
		switch {
		case err != nil:
			r.fail(n.line, path, "expected %s (units: ms, s, m, h); found %s", v.expects, show(n))
		case d < least || d > most:
			r.fail(n.line, path, "expected %s; found %s, which is out of bounds", v.expects, show(n))
		default:
			*into = d
		}
	}
	return v
}

// span is a duration without zero units: 1m, not 1m0s.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// count is a whole number. A string that came out of ${…} may be one.
func count(into *int, least, most int) value {
	v := value{expects: fmt.Sprintf("a whole number from %d to %d", least, most),
		schema: orFilled(schema{"type": "integer", "minimum": least, "maximum": most})}
	v.read = func(r *reader, path string, n *node) {
		if !n.filled && !r.isShown(integer, path, n, v.expects) {
			return
		}
		c, err := strconv.Atoi(n.text)
		switch {
		case err != nil:
			r.fail(n.line, path, "expected %s; found %s", v.expects, show(n))
		case c < least || c > most:
			r.fail(n.line, path, "expected %s; found %s, which is out of bounds", v.expects, show(n))
		default:
			*into = c
		}
	}
	return v
}

var (
	sizeText  = regexp.MustCompile(`^([0-9]+) ?([A-Za-z]+)$`)
	sizeUnits = []string{"B", "kB", "MB", "GB", "KiB", "MiB", "GiB"}
	sizeOf    = map[string]int64{"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
)

// size is a number of bytes with a unit.
func size(into *int64, least, most int64) value {
	v := value{expects: fmt.Sprintf("a size from %s to %s, such as 64MiB", sizeString(least), sizeString(most)),
		schema: patternSchema("^[0-9]+ ?(" + strings.Join(sizeUnits, "|") + ")$")}
	v.read = func(r *reader, path string, n *node) {
		if n.kind == integer || n.kind == decimal {
			r.fail(n.line, path, "expected %s; found a number without a unit, %s", v.expects, quote(n.text))
			return
		}
		if !r.isShown(text, path, n, v.expects) {
			return
		}
		m := sizeText.FindStringSubmatch(n.text)
		if m == nil {
			r.fail(n.line, path, "expected %s: a whole number and one of %s; found %s", v.expects, strings.Join(sizeUnits, ", "), show(n))
			return
		}
		unit, ok := sizeOf[m[2]]
		if !ok {
			r.fail(n.line, path, "expected %s: the units are %s; found %s", v.expects, strings.Join(sizeUnits, ", "), show(n))
			return
		}
		c, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil || c > math.MaxInt64/unit || c*unit < least || c*unit > most {
			r.fail(n.line, path, "expected %s; found %s, which is out of bounds", v.expects, show(n))
			return
		}
		*into = c * unit
	}
	return v
}

func sizeString(n int64) string {
	for _, u := range []string{"GiB", "MiB", "KiB"} {
		if n >= sizeOf[u] && n%sizeOf[u] == 0 {
			return strconv.FormatInt(n/sizeOf[u], 10) + u
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// word is one of a few words; parse is not asked about others.
func word(words []string, parse func(string)) value {
	v := value{expects: "one of " + strings.Join(words, ", "), schema: enumSchema(words)}
	v.read = func(r *reader, path string, n *node) {
		if w, ok := r.word(path, n, words); ok {
			parse(w)
		}
	}
	return v
}

func (r *reader) word(path string, n *node, words []string) (string, bool) {
	expects := "one of " + strings.Join(words, ", ")
	if !r.isShown(text, path, n, expects) {
		return "", false
	}
	for _, w := range words {
		if n.text == w {
			return w, true
		}
	}
	near := ""
	if !n.filled {
		near = didYouMean(n.text, words)
	}
	r.fail(n.line, path, "expected %s; found %s%s", expects, show(n), near)
	return "", false
}

// truth is true or false.
func truth(set func(bool)) value {
	v := value{expects: "true or false", schema: orFilled(schema{"type": "boolean"})}
	v.read = func(r *reader, path string, n *node) {
		if n.kind == boolean || n.filled && slices.Contains([]string{"true", "false"}, n.text) {
			set(strings.EqualFold(n.text, "true"))
			return
		}
		r.fail(n.line, path, "expected %s; found %s", v.expects, show(n))
	}
	return v
}

var providerName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// name is what a provider is called.
func name(into *string) value {
	v := value{expects: "a name of at most 64 lower case letters, digits, _ and -",
		schema: orFilled(schema{"type": []string{"string", "integer", "boolean"}, "pattern": providerName.String()})}
	v.read = func(r *reader, path string, n *node) {
		ok := n.kind == text || n.kind == integer || n.kind == boolean
		if ok && providerName.MatchString(n.text) {
			*into = n.text
			return
		}
		r.fail(n.line, path, "expected %s; found %s", v.expects, show(n))
	}
	return v
}

// hostPort is an address to listen on.
func hostPort(into *string) value {
	v := value{expects: "host:port, such as 127.0.0.1:9000, [::1]:9000, or :9000 for every interface",
		schema: patternSchema("^[^/]*:[0-9]{1,5}$")}
	v.read = func(r *reader, path string, n *node) {
		if !r.isShown(text, path, n, v.expects) {
			return
		}
		// Port 0 lets the system choose one, which tests need.
		if problem := checkHostPort(n.text, 0); problem != "" {
			r.fail(n.line, path, "expected %s; found %s: %s", v.expects, show(n), problem)
			return
		}
		*into = n.text
	}
	return v
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?$`)

func checkHostPort(s string, leastPort int) (problem string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "it needs a host, a colon and a port, and an IPv6 address needs [ ]"
	}
	ip, _, _ := strings.Cut(host, "%") // the zone of an IPv6 address
	if host != "" && net.ParseIP(ip) == nil && !hostName.MatchString(host) {
		return "the host is neither a name nor an IP address"
	}
	if p, err := strconv.Atoi(port); err != nil || p < leastPort || p > 65535 || strings.Trim(port, "0123456789") != "" {
		return fmt.Sprintf("the port must be a number from %d to 65535", leastPort)
	}
	return ""
}

// remoteURL is where a remote listens. It is not shown in errors: people put
// passwords into URLs.
func remoteURL(into *string) value {
	v := value{expects: "http://host:port or https://host:port",
		schema: patternSchema("^[Hh][Tt][Tt][Pp][Ss]?://[^/@]+:[0-9]{1,5}/?$")}
	v.read = func(r *reader, path string, n *node) {
		if !r.is(text, path, n, v.expects) {
			return
		}
		bad := func(why string) { r.fail(n.line, path, "expected %s; %s", v.expects, why) }
		u, err := url.Parse(n.text)
		switch {
		case err != nil || u.Opaque != "" || u.Scheme == "" || u.Host == "":
			bad("found something else (for example, the scheme is missing)")
		case u.Scheme != "http" && u.Scheme != "https":
			bad("the scheme must be http or https")
		case u.User != nil:
			bad("a user name or password cannot be given here")
		case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
			bad("nothing may follow the port")
		case u.Hostname() == "":
			bad("the host is missing")
		default:
			if problem := checkHostPort(u.Host, 1); problem != "" {
				bad(problem)
				return
			}
			*into = u.Scheme + "://" + u.Host
		}
	}
	return v
}
