package spool

// OpenWithoutReserve is Open, but the disk may become full to the last byte.
func OpenWithoutReserve(o Options) (*Spool, error) {
	o.noReserve = true
	return Open(o)
}
