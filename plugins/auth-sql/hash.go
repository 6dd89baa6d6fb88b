package main

import (
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
)

// scheme is what the column password_hash holds, with EMQX's keys and words. Without a
// name it is a hash that says itself what it is: bcrypt, argon2id, scrypt, PBKDF2.
type scheme struct {
	Name         string `json:"name"`
	SaltPosition string `json:"salt_position"`
	MacFun       string `json:"mac_fun"`
	Iterations   int    `json:"iterations"`
	DkLength     int    `json:"dk_length"`
	SaltRounds   int    `json:"salt_rounds"` // of EMQX's bcrypt; only who makes a hash needs it
}

//nolint:gochecknoglobals // constant tables
var (
	digests = map[string]func() hash.Hash{"md5": md5.New, "sha": sha1.New, "sha256": sha256.New, "sha512": sha512.New}
	macs    = map[string]func() hash.Hash{
		"md5": md5.New, "sha": sha1.New, "sha224": sha256.New224, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
	}
	// describing are the hashes that say what they are, by what they begin with.
	describing = map[string]string{"bcrypt": "$2", "argon2id": "$argon2id$", "scrypt": "$scrypt$"}
)

func (s *scheme) check() error {
	_, digest := digests[s.Name]
	_, describes := describing[s.Name]
	if s.SaltPosition != "" && !digest && s.SaltPosition != "disable" {
		return errors.New(`"salt_position" is for md5, sha, sha256 and sha512`)
	}
	if s.Name != "pbkdf2" && (s.MacFun != "" || s.Iterations != 0 || s.DkLength != 0) {
		return errors.New(`"mac_fun", "iterations" and "dk_length" are for pbkdf2`)
	}
	switch {
	case s.Name == "" || describes || s.Name == "plain":
	case digest:
		switch s.SaltPosition {
		case "":
			s.SaltPosition = "prefix"
		case "prefix", "suffix", "disable":
		default:
			return fmt.Errorf(`"salt_position" is %q; allowed: prefix, suffix, disable`, s.SaltPosition)
		}
	case s.Name == "pbkdf2":
		mac, ok := macs[s.MacFun]
		if !ok {
			return fmt.Errorf(`"mac_fun" is %q; allowed: %s`, s.MacFun, strings.Join(slices.Sorted(maps.Keys(macs)), ", "))
		}
		if s.Iterations < 1 || s.Iterations > maxIterations {
			return fmt.Errorf(`"iterations" is %d; allowed: 1 to %d`, s.Iterations, maxIterations)
		}
		if s.DkLength == 0 {
			s.DkLength = mac().Size()
		}
		if s.DkLength < 16 || s.DkLength > 1024 {
			return fmt.Errorf(`"dk_length" is %d; allowed: 16 to 1024 bytes`, s.DkLength)
		}
		if most := maxIterations / blocks(s.MacFun, s.DkLength); s.Iterations > most {
			return fmt.Errorf(`"iterations" is %d; allowed with this "dk_length": 1 to %d`, s.Iterations, most)
		}
	default:
		return fmt.Errorf(`"name" is %q; allowed: bcrypt, argon2id, scrypt, pbkdf2, sha512, sha256, sha, md5, plain`, s.Name)
	}
	return nil
}

// verify reports whether the password is the user's. An error says that the stored hash
// is none of the scheme, and shows nothing of it. It takes the same time whatever the
// password is.
func (s *scheme) verify(u user, password []byte) (bool, error) {
	if len(u.hash) == 0 {
		return false, errors.New("there is none")
	}
	if digest, ok := digests[s.Name]; ok {
		d := digest()
		if s.SaltPosition == "prefix" {
			d.Write(u.salt)
		}
		d.Write(password)
		if s.SaltPosition == "suffix" {
			d.Write(u.salt)
		}
		return sameKey(u.hash, d.Sum(nil))
	}
	switch s.Name {
	case "plain":
		have, want := sha256.Sum256(password), sha256.Sum256(u.hash)
		return subtle.ConstantTimeCompare(have[:], want[:]) == 1, nil
	case "pbkdf2":
		key, err := pbkdf2.Key(macs[s.MacFun], string(password), u.salt, s.Iterations, s.DkLength)
		if err != nil {
			return false, err
		}
		return sameKey(u.hash, key)
	}
	if prefix := describing[s.Name]; !strings.HasPrefix(string(u.hash), prefix) {
		return false, fmt.Errorf("it does not begin with %s", prefix)
	}
	if strings.HasPrefix(string(u.hash), describing["bcrypt"]) {
		return verifyBcrypt(u.hash, password)
	}
	return verifyPHC(string(u.hash), password)
}

func verifyBcrypt(stored, password []byte) (bool, error) {
	cost, err := bcrypt.Cost(stored)
	if err != nil {
		return false, errors.New("it is no bcrypt hash")
	}
	if cost > maxCost {
		return false, fmt.Errorf("its bcrypt cost is %d, more than %d", cost, maxCost)
	}
	err = bcrypt.CompareHashAndPassword(stored, password)
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, errors.New("it is no bcrypt hash")
	}
	return err == nil, nil
}

// sameKey compares with what a database has: hexadecimal digits, or the bytes.
func sameKey(stored, key []byte) (bool, error) {
	if len(stored) == 2*len(key) {
		raw := make([]byte, len(key))
		if _, err := hex.Decode(raw, stored); err != nil {
			return false, errors.New("it is not hexadecimal")
		}
		stored = raw
	}
	if len(stored) != len(key) {
		return false, fmt.Errorf("it is of %d bytes, and neither %d nor %d hexadecimal digits", len(stored), len(key), 2*len(key))
	}
	return subtle.ConstantTimeCompare(stored, key) == 1, nil
}

// dummy is a user's row that unknown users are checked against: the last that was
// found, because rows of one database are mostly made in one way.
type dummy struct{ last atomic.Pointer[user] }

// learn takes no dear row: one of them would make every unknown user as dear.
func (d *dummy) learn(u user) {
	if cost(u.hash) <= 1.0/8 {
		d.last.Store(&u)
	}
}

// cost is what the check of a hash that says itself what it is takes, of the most that is allowed.
// That of others is the config's.
func cost(hash []byte) float64 {
	if rounds, err := bcrypt.Cost(hash); err == nil {
		return math.Exp2(float64(rounds - maxCost))
	}
	k, _, _, _ := parsePHC(string(hash)) // 0 if it is none
	return k.cost
}

func (d *dummy) verify(s scheme, password []byte) {
	u := d.last.Load()
	if u == nil {
		u = s.typical()
	}
	_, _ = s.verify(*u, password) // whatever it is, the user is unknown
}

// typical is a row whose check takes about as long as others do.
func (s *scheme) typical() *user {
	const nothing = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	switch s.Name {
	case "argon2id":
		return &user{hash: []byte("$argon2id$v=19$m=65536,t=3,p=4$" + nothing + "$" + nothing)}
	case "scrypt":
		return &user{hash: []byte("$scrypt$ln=16,r=8,p=1$" + nothing + "$" + nothing)}
	case "", "bcrypt":
		return &user{hash: []byte("$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy")}
	}
	return &user{hash: []byte("0"), salt: []byte("salt")} // the length is looked at behind the work
}
