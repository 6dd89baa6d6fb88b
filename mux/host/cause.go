package host

import "errors"

// Cause is why a provider has to be started or connected anew, in a word. The set is
// closed: the same words are counters and status.
type Cause string

// The causes.
const (
	CauseStart      Cause = "start_failed"    // it did not start, or did not answer as it should
	CauseCrash      Cause = "crashed"         // its process ended
	CauseHang       Cause = "hung"            // its health checks failed, or it read nothing more
	CauseMemory     Cause = "out_of_memory"   // it needed more than it may have
	CauseConnection Cause = "connection_lost" // a remote's
)

// Causes are all of them.
func Causes() []Cause {
	return []Cause{CauseStart, CauseCrash, CauseHang, CauseMemory, CauseConnection}
}

// causedError is an error with its Cause.
type causedError struct {
	error
	cause Cause
}

func (e *causedError) Unwrap() error { return e.error }

func causedBy(c Cause, err error) error {
	if err == nil {
		return nil
	}
	return &causedError{err, c}
}

// causeOf is the cause of a run's end.
func causeOf(err error) Cause {
	var e *causedError
	if errors.As(err, &e) {
		return e.cause
	}
	return CauseStart
}
