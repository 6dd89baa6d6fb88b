package host

import (
	"bytes"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Lines beyond what is logged are still remembered, and in an error they have no JSON.
func TestLastWords(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := &output{log: slog.New(slog.NewTextHandler(&log, nil)), second: time.Now().Add(time.Hour)} // however slow the test is
	if got := o.quote(3); got != "" {
		t.Errorf("nothing printed, quoted %q", got)
	}
	var in strings.Builder
	for i := range linesPerSec {
		in.WriteString("line " + strconv.Itoa(i) + "\n")
	}
	in.WriteString(`{"level":"ERROR","msg":"no database","host":"db1"}` + "\nthe end\n")
	o.consume(strings.NewReader(in.String()), "stderr", io.Discard)
	if got, want := o.quote(2), "; its last output:\n  | ERROR no database host=db1\n  | the end"; got != want {
		t.Errorf("quoted %q, want %q", got, want)
	}
	if !strings.Contains(log.String(), `msg="line 199" stream=stderr`) || strings.Contains(log.String(), "no database") {
		t.Errorf("logged %d bytes, which are not the first %d lines", log.Len(), linesPerSec)
	}
}
