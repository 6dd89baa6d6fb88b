package muxtest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"testing"
	"time"
)

// RecordedCall is a call that a real EMQX made.
type RecordedCall struct {
	At       time.Duration // since the recorder started
	Conn     string        // which connection of the pool
	Method   string        // full gRPC method
	Timeout  time.Duration // what was left of grpc-timeout
	Request  []byte
	Response []byte
}

// ReadRecording reads recorded traffic, in its order.
func ReadRecording(t testing.TB, path string) (calls []RecordedCall) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		var l struct {
			OffsetUs  int64  `json:"offset_us"`
			Conn      string `json:"conn"`
			Method    string `json:"method"`
			TimeoutMs int64  `json:"timeout_ms"`
			Request   string `json:"request"`
			Response  string `json:"response"`
		}
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		c := RecordedCall{At: time.Duration(l.OffsetUs) * time.Microsecond, Conn: l.Conn, Method: l.Method, Timeout: time.Duration(l.TimeoutMs) * time.Millisecond}
		if c.Request, err = base64.StdEncoding.DecodeString(l.Request); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if c.Response, err = base64.StdEncoding.DecodeString(l.Response); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		calls = append(calls, c)
	}
	if sc.Err() != nil {
		t.Fatal(sc.Err())
	}
	return calls
}
