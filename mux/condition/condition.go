// Package condition makes a mux.Condition from an expression in CEL, the Common
// Expression Language:
//
//	c, err := condition.Parse(`client.username.startsWith("dev-") && topic != ""`)
//
// An expression is parsed and type-checked once and must say true or false. What it
// can ask is listed by Names; what an event does not have is empty, 0 or false. Of a
// request only the fields that the expression comes to ask are decoded.
//
// An expression cannot loop forever: it may cost maxCost steps, and what costs more is an
// error of that event.
package condition

import (
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"github.com/hookmux/hookmux/mux"
)

const (
	maxLength = 4096    // of an expression, in bytes
	maxCost   = 100_000 // of one evaluation, in CEL's units: about a comparison or a character each
)

// Error is what is wrong with an expression.
type Error struct {
	Line, Column int // from 1
	Text         string
}

func (e *Error) Error() string {
	if e.Line > 1 {
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
	}
	return fmt.Sprintf("column %d: %s", e.Column, e.Text)
}

// Condition is an expression that is ready to be asked.
type Condition struct {
	source  string
	program cel.Program
}

// String is the expression.
func (c *Condition) String() string { return c.source }

// parsed has every Condition there is, so that the same expression gives the same
// one: who compares the config of before a reload with that of after sees no change.
var parsed sync.Map

// Parse reads an expression. An error is an *Error.
func Parse(source string) (*Condition, error) {
	if c, ok := parsed.Load(source); ok {
		return c.(*Condition), nil
	}
	if len(source) > maxLength {
		return nil, &Error{Line: 1, Column: 1, Text: fmt.Sprintf("the expression has %d bytes; at most %d are possible", len(source), maxLength)}
	}
	ast, issues := environment().Compile(source)
	if err := issues.Err(); err != nil {
		return nil, worst(source, issues)
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, &Error{Line: 1, Column: 1, Text: fmt.Sprintf("the expression is of type %s; it must be true or false", ast.OutputType())}
	}
	program, err := environment().Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, &Error{Line: 1, Column: 1, Text: err.Error()}
	}
	c, _ := parsed.LoadOrStore(source, &Condition{source, program})
	return c.(*Condition), nil
}

// Matches evaluates the expression for an event.
func (c *Condition) Matches(e *mux.Event) (bool, error) {
	out, _, err := c.program.Eval(scope{e})
	if err != nil {
		return false, err
	}
	if matches, ok := out.(types.Bool); ok {
		return bool(matches), nil
	}
	return false, fmt.Errorf("the condition is neither true nor false but %v", out)
}

// environment is what expressions are checked against.
var environment = sync.OnceValue(func() *cel.Env {
	opts := []cel.EnvOption{
		ext.Strings(ext.StringsVersion(4)),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
		cel.ParserExpressionSizeLimit(maxLength),
		cel.ParserRecursionLimit(100),
		cel.CrossTypeNumericComparisons(true),
	}
	for _, n := range names {
		opts = append(opts, cel.VariableWithDoc(n.name, n.typ, n.doc))
	}
	env, err := cel.NewEnv(opts...)
	if err != nil {
		panic(err) // the table of names is at fault
	}
	return env
})

// worst is the first of the issues.
func worst(source string, issues *cel.Issues) error {
	all := issues.Errors()
	if len(all) == 0 {
		return &Error{Line: 1, Column: 1, Text: issues.Err().Error()}
	}
	first := all[0]
	for _, e := range all {
		if l, f := e.Location, first.Location; l.Line() < f.Line() || l.Line() == f.Line() && l.Column() < f.Column() {
			first = e
		}
	}
	e := &Error{Line: max(first.Location.Line(), 1), Column: max(first.Location.Column(), 0) + 1, Text: first.Message}
	switch {
	case strings.HasPrefix(e.Text, "undeclared reference to "):
		e.Text += ". There are " + strings.Join(Names(), ", ")
	case e.Text == "invalid matches argument":
		e.Text = "this is no regular expression of RE2"
	}
	return e
}

// Names lists what an expression can ask.
func Names() []string {
	var out []string
	for _, n := range names {
		out = append(out, n.name)
	}
	return out
}

// scope gives an expression what it asks of an event.
type scope struct{ ev *mux.Event }

// Parent is nil: there is nothing around an event.
func (scope) Parent() cel.Activation { return nil }

// ResolveName is the value of a name.
func (s scope) ResolveName(name string) (any, bool) {
	i, ok := byName[name]
	if !ok {
		return nil, false
	}
	return names[i].of(s.ev), true
}
