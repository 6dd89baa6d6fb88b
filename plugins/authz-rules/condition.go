package main

import (
	"errors"
	"fmt"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"github.com/hookmux/hookmux/plugins/internal/topicfilter"
	"github.com/hookmux/hookmux/plugins/sdk"
)

const (
	longestCondition = 4096
	costliest        = 100_000 // of one evaluation, in CEL's units: about a comparison or a character each
)

// name is what a condition can ask; the names are those of `when` in hookmux.yaml.
type name struct {
	name string
	typ  *cel.Type
	of   func(*topicfilter.Question) any
}

func ofClient(get func(*sdk.ClientInfo) string) func(*topicfilter.Question) any {
	return func(q *topicfilter.Question) any { return get(q.Client) }
}

//nolint:gochecknoglobals // a constant table
var names = []name{
	{"action", cel.StringType, func(q *topicfilter.Question) any { return q.Action() }},
	{"topic", cel.StringType, func(q *topicfilter.Question) any { return q.Topic }},
	{"client.id", cel.StringType, ofClient((*sdk.ClientInfo).GetClientid)},
	{"client.username", cel.StringType, ofClient((*sdk.ClientInfo).GetUsername)},
	{"client.peerhost", cel.StringType, ofClient((*sdk.ClientInfo).GetPeerhost)},
	{"client.sockport", cel.IntType, func(q *topicfilter.Question) any { return int64(q.Client.GetSockport()) }},
	{"client.protocol", cel.StringType, ofClient((*sdk.ClientInfo).GetProtocol)},
	{"client.mountpoint", cel.StringType, ofClient((*sdk.ClientInfo).GetMountpoint)},
	{"client.is_superuser", cel.BoolType, func(q *topicfilter.Question) any { return q.Client.GetIsSuperuser() }},
	{"client.anonymous", cel.BoolType, func(q *topicfilter.Question) any { return q.Client.GetAnonymous() }},
	{"client.cn", cel.StringType, ofClient((*sdk.ClientInfo).GetCn)},
	{"client.dn", cel.StringType, ofClient((*sdk.ClientInfo).GetDn)},
}

var environment = sync.OnceValues(func() (*cel.Env, error) {
	opts := []cel.EnvOption{
		ext.Strings(ext.StringsVersion(4)),
		cel.ASTValidators(cel.ValidateRegexLiterals()),
		cel.ParserExpressionSizeLimit(longestCondition),
		cel.ParserRecursionLimit(100),
		cel.CrossTypeNumericComparisons(true),
	}
	for _, n := range names {
		opts = append(opts, cel.Variable(n.name, n.typ))
	}
	return cel.NewEnv(opts...)
})

func newCondition(source string) (cel.Program, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(source)
	if issues.Err() != nil {
		if all := issues.Errors(); len(all) > 0 {
			return nil, fmt.Errorf("column %d: %s", all[0].Location.Column()+1, all[0].Message)
		}
		return nil, issues.Err()
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("is of type %s; it must be true or false", ast.OutputType())
	}
	return env.Program(ast, cel.EvalOptions(cel.OptOptimize, cel.OptPartialEval), cel.CostLimit(costliest))
}

// holds evaluates a condition. A filter with wildcards is many topics, so what depends on its
// letters is in doubt.
func holds(p cel.Program, q *topicfilter.Question, inDoubt bool) (bool, error) {
	var asked any = scope{q}
	if q.Wild() {
		var err error
		if asked, err = cel.PartialVars(asked, cel.AttributePattern("topic")); err != nil {
			return false, err
		}
	}
	out, _, err := p.Eval(asked)
	if err != nil {
		return false, err
	}
	if types.IsUnknown(out) {
		return inDoubt, nil
	}
	yes, ok := out.(types.Bool)
	if !ok {
		return false, errors.New("the condition is neither true nor false")
	}
	return bool(yes), nil
}

// scope gives a condition what it asks for.
type scope struct{ q *topicfilter.Question }

func (scope) Parent() cel.Activation { return nil }

func (s scope) ResolveName(asked string) (any, bool) {
	for _, n := range names {
		if n.name == asked {
			return n.of(s.q), true
		}
	}
	return nil, false
}
