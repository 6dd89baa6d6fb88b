// Package page is the web page at the admin address: the files in static, as they
// are, without a build step.
package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed static
var static embed.FS

// Routes adds the page and its files to mux, each at its own path. There is nothing in
// them that is secret, so everybody may have them: what they show, they ask for.
func Routes(mux *http.ServeMux) {
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		at := strings.TrimPrefix(name, "static")
		if at == "/index.html" {
			at = "/{$}"
		}
		mux.HandleFunc("GET "+at, file(name, data))
		return nil
	})
	if err != nil {
		panic(err) // they are in the program
	}
}

func file(name string, data []byte) http.HandlerFunc {
	kind := mime.TypeByExtension(path.Ext(name))
	sum := sha256.Sum256(data)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-cache") // but ask whether it is still the same
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(data)
	}
}
