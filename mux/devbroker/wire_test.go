package devbroker

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// encode must be what proto.Marshal does, for everything that was recorded.
func TestEncodeIsMarshal(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"5.0.26", "5.10.3"} {
		for _, c := range loadRecording(t, release) {
			want, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.req)
			if err != nil {
				t.Fatal(err)
			}
			if got := encode(c.req); !bytes.Equal(got, want) {
				t.Errorf("%s:\ngot  %x\nwant %x", c.rpc, got, want)
			}
			if m, ok := c.req.(*exhookv3.MessagePublishRequest); ok && !proto.Equal(decodeMessage(encode(m.Message)), m.Message) {
				t.Errorf("decodeMessage lost something of %v", m.Message)
			}
		}
	}
}

func TestMalformedAnswers(t *testing.T) {
	t.Parallel()
	good := encode(messageAnswer(&exhookv3.Message{Topic: "a", Payload: []byte("b")}))
	for i := 1; i < len(good)-1; i++ {
		if _, err := decodeVerdict(good[:i]); err == nil && i > 1 {
			t.Errorf("cut to %d bytes, it was taken", i)
		}
	}
	if _, err := decodeLoaded([]byte{0x0a, 0x05, 0x0a}); err == nil {
		t.Error("a cut LoadedResponse was taken")
	}
}

func TestMatchTopic(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		filter, topic string
		want          bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a/b", "a", false}, {"a", "a/b", false},
		{"+", "a", true}, {"+", "a/b", false}, {"a/+", "a/b", true}, {"a/+", "a", false}, {"a/+", "a/", true},
		{"#", "a/b", true}, {"a/#", "a/b/c", true}, {"a/#", "a", true}, {"a/#", "b", false}, {"+/#", "a", true},
		{"+/+", "/a", true}, {"#", "$SYS/a", false}, {"+/a", "$SYS/a", false}, {"$SYS/#", "$SYS/a", true},
	} {
		if got := matchTopic(x.filter, x.topic); got != x.want {
			t.Errorf("%s ~ %s: %t", x.filter, x.topic, got)
		}
	}
}

func TestErlangPairs(t *testing.T) {
	t.Parallel()
	for want, pair := range map[string]packets.UserProperty{
		`[{<<"a">>,<<"b c">>}]`:                    {Key: "a", Val: "b c"},
		`[{<<>>,<<"\"q\\\n">>}]`:                   {Key: "", Val: "\"q\\\n"},
		`[{<<229,130>>,<<"` + "\xc3\xbc" + `">>}]`: {Key: "\xe5\x82", Val: "ü"},
	} {
		if got := erlangPairs([]packets.UserProperty{pair}); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		cfg  Config
		want string // in the error; empty: none
	}{
		"defaults":      {cfg: Config{ExHook: "h:1"}},
		"url":           {cfg: Config{ExHook: "http://h:1/"}},
		"release alone": {cfg: Config{ExHook: "h:1", Release: "5.0.26"}},
		"agreeing":      {cfg: Config{ExHook: "h:1", Release: "4.4.1", Version: "v1"}},
		"no exhook":     {Config{}, "exhook address"},
		"tls":           {Config{ExHook: "https://h:1"}, "exhook address"},
		"version":       {Config{ExHook: "h:1", Version: "v9"}, "want v1, v2 or v3"},
		"disagreeing":   {Config{ExHook: "h:1", Release: "5.8.8", Version: "v3"}, "speaks v2"},
		"future":        {Config{ExHook: "h:1", Release: "6.3.0"}, "4.3 to 6.2"},
		"nonsense":      {Config{ExHook: "h:1", Release: "five"}, "4.3 to 6.2"},
		"action":        {Config{ExHook: "h:1", FailedAction: "allow"}, "want deny or ignore"},
		"negative":      {Config{ExHook: "h:1", PoolSize: -1}, "must be positive"},
	} {
		_, _, err := x.cfg.withDefaults()
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
}
