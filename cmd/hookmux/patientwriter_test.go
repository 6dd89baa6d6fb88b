package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

func TestLogDoesNotWaitForItsReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		log := newPatientWriter(w)
		for i := range patientLines + 101 { // one is being written
			fmt.Fprintf(log, "line %d\n", i)
			if i == 0 {
				synctest.Wait()
			}
		}
		var got bytes.Buffer
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(&got, r)
		}()
		log.Close()
		_ = w.Close()
		<-read
		if n := strings.Count(got.String(), "line "); n != patientLines+1 {
			t.Errorf("%d lines were written, want %d", n, patientLines+1)
		}
		if !strings.Contains(got.String(), "hookmux: 100 log lines left out") {
			t.Error("nothing tells of those that were left out")
		}
	})
}

func TestLogThatNobodyReadsDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		log := newPatientWriter(w)
		fmt.Fprintln(log, "line")
		log.Close()
		fmt.Fprintln(log, "after the end")
		_ = r.Close()
		<-log.done
	})
}
