// Package scaffold makes the folder of a new plugin, and knows how a folder with a
// plugin is built: by what lies in it, as the language's people expect.
//
// A language is a folder of templates/ and a row of the table in languages.go.
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

//go:embed all:templates
var templates embed.FS

// Project is what a new folder is made from.
type Project struct {
	// Dir is the folder: new, or empty.
	Dir string
	// Name is the plugin's. Default: the folder's.
	Name string
	// SDK is a checkout of hookmux, absolute, whose SDK the project uses; empty:
	// the released one of Version.
	SDK string
	// Version is the released version of the SDK, such as 1.2.3.
	Version string
}

// goodName fits all languages' package names.
var goodName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// Create writes the project's files and returns their names. It changes no file
// that exists, and leaves nothing behind when it fails.
func (l *Language) Create(p Project) (files []string, err error) {
	if p.Dir, err = filepath.Abs(p.Dir); err != nil {
		return nil, err
	}
	if p.Name == "" {
		p.Name = strings.ToLower(filepath.Base(p.Dir))
	}
	if !goodName.MatchString(p.Name) {
		return nil, fmt.Errorf("%q is no name for a plugin: use small letters, digits and hyphens, such as topic-rules (--name)", p.Name)
	}
	entries, err := os.ReadDir(p.Dir)
	switch {
	case err == nil && len(entries) > 0:
		return nil, fmt.Errorf("%s is not empty", p.Dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	defer func() {
		if err != nil {
			for _, f := range files {
				_ = os.Remove(filepath.Join(p.Dir, f))
			}
		}
	}()
	root := "templates/" + l.Name
	err = fs.WalkDir(templates, root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		t, err := template.New(filepath.Base(path)).Option("missingkey=error").ParseFS(templates, path)
		if err != nil {
			return err
		}
		var text strings.Builder
		if err := t.Execute(&text, p); err != nil {
			return err
		}
		// No template is one of a Go or Node project of its own: they end with
		// .tmpl, and hidden files begin with dot-.
		file := strings.TrimSuffix(strings.TrimPrefix(path, root+"/"), ".tmpl")
		file = strings.ReplaceAll(file, "dot-", ".")
		to := filepath.Join(p.Dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		files = append(files, file)
		return os.WriteFile(to, []byte(text.String()), 0o644) //nolint:gosec // sources are for all to read
	})
	return files, err
}
