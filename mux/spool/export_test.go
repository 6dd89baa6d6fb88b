package spool

import "context"

// OpenWithoutReserve is Open, but the disk may become full to the last byte.
func OpenWithoutReserve(o Options) (*Spool, error) {
	o.noReserve = true
	return Open(o)
}

// AllLetters is what RetryAll and DropAll do.
func (s *Spool) AllLetters(ctx context.Context, provider string, f func(context.Context, *Letter) error) (int, error) {
	return s.allLetters(ctx, provider, f)
}
