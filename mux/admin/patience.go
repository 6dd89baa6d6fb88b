package admin

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// There are only maxConns connections, and who may not ask anything can open one, too. So
// a body has to come soon, and an answer be taken; who has shown to be somebody has time.
const (
	bodyTime   = 10 * time.Second
	answerTime = time.Minute
)

// impatient reads the body before anything else, and gives the answer some time.
func impatient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		_ = c.SetWriteDeadline(time.Now().Add(answerTime))
		if r.ContentLength != 0 {
			_ = c.SetReadDeadline(time.Now().Add(bodyTime))
			body, err := io.ReadAll(r.Body)
			if err == nil { // else the rest need not come any more
				_ = c.SetReadDeadline(time.Time{})
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		next.ServeHTTP(w, r)
	})
}

// patient undoes that for somebody.
func patient(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
}
