package sqldb

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// bind replaces the named parameters of a statement by the driver's: $1 for PostgreSQL,
// where a name that comes twice is the same parameter, ? for the others. names are
// those of the driver's parameters, in order.
//
// What is quoted, or in a comment, is left alone; so is ::, PostgreSQL's cast.
func (k Kind) bind(query string) (text string, names []string, err error) {
	var b strings.Builder
	for i := 0; i < len(query); {
		if n, err := k.skip(query, i); err != nil {
			return "", nil, err
		} else if n > 0 {
			b.WriteString(query[i : i+n])
			i += n
			continue
		}
		rest := query[i:]
		switch {
		case strings.HasPrefix(rest, "${"):
			return "", nil, errors.New("a parameter is written :name, and not ${name}")
		case rest[0] == '?' && k != Postgres, // there it is an operator of JSON
			rest[0] == '$' && len(rest) > 1 && isDigit(rest[1]):
			return "", nil, fmt.Errorf("a parameter is written :name, and not %.2s", rest)
		case strings.HasPrefix(rest, "::"), strings.HasPrefix(rest, ":="):
			b.WriteString(rest[:2])
			i += 2
			continue
		case rest[0] != ':' || len(rest) < 2 || !isLetter(rest[1]):
			b.WriteByte(rest[0])
			i++
			continue
		}
		end := 1
		for end < len(rest) && (isLetter(rest[end]) || isDigit(rest[end])) {
			end++
		}
		name := rest[1:end]
		i += end
		if k != Postgres {
			names = append(names, name)
			b.WriteByte('?')
			continue
		}
		at := slices.Index(names, name)
		if at < 0 {
			at = len(names)
			names = append(names, name)
		}
		fmt.Fprintf(&b, "$%d", at+1)
	}
	return b.String(), names, nil
}

// skip is the length of the string, name or comment that begins at i, or 0.
func (k Kind) skip(query string, i int) (int, error) {
	rest := query[i:]
	until := func(from int, end, what string) (int, error) {
		n := strings.Index(rest[from:], end)
		if n < 0 {
			return 0, fmt.Errorf("%s that does not end: %.20q", what, rest)
		}
		return from + n + len(end), nil
	}
	switch {
	case strings.HasPrefix(rest, "--"), k == MySQL && rest[0] == '#':
		n, err := until(0, "\n", "")
		if err != nil {
			n = len(rest)
		}
		return n, nil
	case strings.HasPrefix(rest, "/*"):
		return until(2, "*/", "a comment")
	case rest[0] == '\'' || rest[0] == '"' || rest[0] == '`' && k != Postgres:
		escapes := k == MySQL && rest[0] != '`' ||
			k == Postgres && rest[0] == '\'' && i > 0 && (query[i-1] == 'E' || query[i-1] == 'e') && (i < 2 || !isLetter(query[i-2]) && !isDigit(query[i-2]))
		for n := 1; n < len(rest); n++ {
			switch {
			case rest[n] == '\\' && escapes:
				n++
			case rest[n] == rest[0]:
				return n + 1, nil // a doubled quote is another string, right behind
			}
		}
		return 0, fmt.Errorf("a quote that does not end: %.20q", rest)
	case k == Postgres && rest[0] == '$' && (i == 0 || !isLetter(query[i-1]) && !isDigit(query[i-1])):
		end := 1
		for end < len(rest) && (isLetter(rest[end]) || isDigit(rest[end])) {
			end++
		}
		if end < len(rest) && rest[end] == '$' && !isDigit(rest[1]) {
			return until(end+1, rest[:end+1], "a quote")
		}
	}
	return 0, nil
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
