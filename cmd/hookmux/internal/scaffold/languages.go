package scaffold

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Language is how plugins in it are made and built. Commands run in the plugin's
// folder.
type Language struct {
	Name string
	// Sign is a file that a folder of this language has.
	Sign string
	// Setup fetches what the plugin needs, once: while Installed is missing.
	Setup     [][]string
	Installed string
	// Build makes the program, before each start; nil: there is nothing to build.
	Build [][]string
	// Test runs the project's own tests.
	Test [][]string
	// Verify is the plugin's command for hookmux verify.
	Verify []string
}

// Languages are all that there are.
//
//nolint:gochecknoglobals // a constant table
var Languages = []*Language{
	{
		Name: "go", Sign: "go.mod",
		Setup: [][]string{{"go", "mod", "tidy"}}, Installed: "go.sum",
		Build:  [][]string{{"go", "build", "-o", "bin/plugin", "."}},
		Test:   [][]string{{"go", "test", "./..."}},
		Verify: []string{"bin/plugin"},
	},
	{
		Name: "python", Sign: "requirements.txt",
		Setup:     [][]string{{"python3", "-m", "venv", ".venv"}, {".venv/bin/pip", "install", "--quiet", "-r", "requirements.txt"}},
		Installed: ".venv/bin/pytest",
		Test:      [][]string{{".venv/bin/pytest", "-q"}},
		Verify:    []string{".venv/bin/python", "plugin.py"},
	},
	{
		Name: "node", Sign: "package.json",
		Setup: [][]string{{"npm", "install", "--silent"}}, Installed: "node_modules/.package-lock.json",
		Test:   [][]string{{"npm", "test"}},
		Verify: []string{"node", "main.js"},
	},
	{
		Name: "java", Sign: "pom.xml",
		Setup: [][]string{{"sh", "setup.sh"}}, Installed: "target/setup-done",
		Build:  [][]string{{"mvn", "-q", "-B", "-ntp", "-DskipTests", "package"}},
		Test:   [][]string{{"mvn", "-q", "-B", "-ntp", "test"}},
		Verify: []string{"java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", "target/plugin.jar"},
	},
}

// ByName finds a language.
func ByName(name string) (*Language, error) {
	i := slices.IndexFunc(Languages, func(l *Language) bool { return l.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no SDK for %q: use %s", name, strings.Join(Names(), ", "))
	}
	return Languages[i], nil
}

// Names are the languages' names.
func Names() (names []string) {
	for _, l := range Languages {
		names = append(names, l.Name)
	}
	return names
}

// Of is the language of the plugin in a folder; nil: none that we know, so there is
// nothing to build.
func Of(dir string) *Language {
	for _, l := range Languages {
		if _, err := os.Stat(filepath.Join(dir, l.Sign)); err == nil {
			return l
		}
	}
	return nil
}

// Missing are the commands still to be run before the first build in a folder.
func (l *Language) Missing(dir string) [][]string {
	if _, err := os.Stat(filepath.Join(dir, l.Installed)); err == nil {
		return nil
	}
	return l.Setup
}
