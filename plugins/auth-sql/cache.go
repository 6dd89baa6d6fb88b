package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/hookmux/hookmux/plugins/sdk"
)

type cacheConfig struct {
	// TTL is how long a good answer is kept, counted from when the database gave it.
	TTL sdk.Duration `json:"ttl"`
	// NegativeTTL is the same for a wrong password and an unknown user.
	NegativeTTL sdk.Duration `json:"negative_ttl"`
	// Entries is how many are kept of each.
	Entries int `json:"entries"`
}

const defaultEntries = 10_000

// cache keeps answers of the database, and nothing but answers: an outage is none. What it
// is asked by is a keyed hash of the client's values and password, whose key lives as
// long as the process.
//
// Refusals have a place of their own, so that who guesses does not push out the others.
type cache struct {
	secret        [32]byte
	ttl, negative time.Duration
	yes, no       *lru.Cache[cacheKey, entry]
}

type cacheKey [sha256.Size]byte

type entry struct {
	outcome outcome
	until   time.Time
}

func newCache(c cacheConfig) (*cache, error) {
	if c.TTL < 0 || c.NegativeTTL < 0 || c.Entries < 0 {
		return nil, errors.New("must not be negative")
	}
	if c.Entries == 0 {
		c.Entries = defaultEntries
	}
	k := &cache{ttl: time.Duration(c.TTL), negative: time.Duration(c.NegativeTTL)}
	_, _ = rand.Read(k.secret[:]) // it never fails
	var err error
	if k.yes, err = lru.New[cacheKey, entry](c.Entries); err != nil {
		return nil, err
	}
	k.no, err = lru.New[cacheKey, entry](c.Entries)
	return k, err
}

// key is the same for the same question. It is made of everything that the query could
// ask by.
func (k *cache) key(what string, c *sdk.ClientInfo, password string) (key cacheKey) {
	if k.ttl == 0 && k.negative == 0 {
		return key
	}
	mac := hmac.New(sha256.New, k.secret[:])
	add := func(s string) {
		var n [8]byte // the length first, so that no two lists of values are the same bytes
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		mac.Write(n[:])
		mac.Write([]byte(s))
	}
	add(what)
	for _, name := range parameters {
		add(parameter(c, name))
	}
	add(password)
	mac.Sum(key[:0])
	return key
}

func (k *cache) get(key cacheKey) (outcome, bool) {
	for _, c := range []*lru.Cache[cacheKey, entry]{k.yes, k.no} {
		if e, ok := c.Get(key); ok {
			if time.Now().Before(e.until) {
				return e.outcome, true
			}
			c.Remove(key)
		}
	}
	return "", false
}

func (k *cache) put(key cacheKey, o outcome) {
	c, ttl := k.no, k.negative
	if o == good || o == superuser {
		c, ttl = k.yes, k.ttl
	}
	if ttl > 0 {
		c.Add(key, entry{o, time.Now().Add(ttl)})
	}
}
