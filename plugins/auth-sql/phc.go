package main

import (
	"crypto/pbkdf2"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/scrypt"
)

// Bounds on what one hash may need: what a database says must not end the process, nor keep it
// busy for long, for no hash can be interrupted. Passes are the bytes of memory times how often they are gone
// through. Each bound is some seconds.
const (
	maxMemory     = 512 << 20
	maxArgonPass  = 4 << 30
	maxScryptPass = 1 << 30
	maxIterations = 10_000_000 // of PBKDF2, for each block of the key
	maxCost       = 16         // of bcrypt: 65,536 rounds
)

// verifyPHC checks a hash in the PHC string format, $id$parameters$salt$hash:
//
//	$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH
//	$scrypt$ln=16,r=8,p=1$SALT$HASH
//	$pbkdf2-sha256$29000$SALT$HASH         (as Python's passlib writes it)
func verifyPHC(stored string, password []byte) (bool, error) {
	k, salt, want, err := parsePHC(stored)
	if err != nil {
		return false, err
	}
	have, err := k.derive(password, salt)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(have, want) == 1, nil
}

// kdf derives a key from a password.
type kdf struct {
	cost   float64 // of the most that is allowed
	derive func(password, salt []byte) ([]byte, error)
}

func parsePHC(stored string) (k kdf, salt, want []byte, err error) {
	parts := strings.Split(stored, "$")
	if len(parts) < 5 || parts[0] != "" {
		return k, nil, nil, errors.New("it is of no form that is known: bcrypt, or $argon2id$, $scrypt$ or $pbkdf2-…$")
	}
	id, params := parts[1], parts[2:len(parts)-2]
	if salt, err = unbase64(parts[len(parts)-2]); err != nil {
		return k, nil, nil, fmt.Errorf("the salt of its %s: %w", id, err)
	}
	if want, err = unbase64(parts[len(parts)-1]); err != nil || len(want) < 16 || len(want) > 1024 {
		return k, nil, nil, fmt.Errorf("the hash of its %s is not 16 to 1024 bytes in base64", id)
	}
	k, err = kdfOf(id, params, len(want))
	return k, salt, want, err
}

func kdfOf(id string, params []string, n int) (kdf, error) {
	mac, isPBKDF2 := strings.CutPrefix(id, "pbkdf2-")
	switch {
	case id == "argon2id" && len(params) == 2 && params[0] == "v=19":
		v, err := numbers(params[1], "m", "t", "p")
		if err != nil {
			return kdf{}, err
		}
		m, t, p := v[0], v[1], v[2]
		if m < 8*p || t < 1 || p < 1 || p > 255 || m<<10 > maxMemory || t > maxArgonPass/(m<<10) {
			return kdf{}, fmt.Errorf("argon2id with m=%d, t=%d, p=%d: not allowed, or more than %d MiB, or than %d MiB times t", m, t, p, maxMemory>>20, maxArgonPass>>20)
		}
		return kdf{float64(m<<10*t) / maxArgonPass, func(password, salt []byte) ([]byte, error) {
			return argon2.IDKey(password, salt, uint32(t), uint32(m), uint8(p), uint32(n)), nil
		}}, nil
	case id == "scrypt" && len(params) == 1:
		v, err := numbers(params[0], "ln", "r", "p")
		if err != nil {
			return kdf{}, err
		}
		ln, r, p := v[0], v[1], v[2]
		if ln < 1 || ln > 24 || r < 1 || r > 64 || p < 1 || p > 64 || 128*r<<ln > maxMemory || 128*r<<ln*p > maxScryptPass {
			return kdf{}, fmt.Errorf("scrypt with ln=%d, r=%d, p=%d: not allowed, or more than %d MiB, or than %d MiB times p", ln, r, p, maxMemory>>20, maxScryptPass>>20)
		}
		return kdf{float64(128*r<<ln*p) / maxScryptPass, func(password, salt []byte) ([]byte, error) {
			return scrypt.Key(password, salt, 1<<ln, int(r), int(p), n)
		}}, nil
	case isPBKDF2 && len(params) == 1 && macs[mac] != nil:
		rounds, err := strconv.Atoi(params[0])
		if most := maxIterations / blocks(mac, n); err != nil || rounds < 1 || rounds > most {
			return kdf{}, fmt.Errorf("pbkdf2 without rounds from 1 to %d, for a key of %d bytes", most, n)
		}
		return kdf{float64(rounds*blocks(mac, n)) / maxIterations, func(password, salt []byte) ([]byte, error) {
			return pbkdf2.Key(macs[mac], string(password), salt, rounds, n)
		}}, nil
	}
	return kdf{}, errors.New("it is of no form that is known: bcrypt, or $argon2id$v=19$, $scrypt$ or $pbkdf2-…$")
}

// blocks are how often PBKDF2 does all its rounds for a key of n bytes.
func blocks(mac string, n int) int {
	size := macs[mac]().Size()
	return (n + size - 1) / size
}

// numbers reads m=1,t=2,p=3, in this order.
func numbers(s string, names ...string) ([]int64, error) { // also where an int has 32 bits
	fields := strings.Split(s, ",")
	values := make([]int64, len(names))
	for i, n := range names {
		if len(fields) != len(names) {
			return nil, fmt.Errorf("its parameters are not %s", strings.Join(names, ", "))
		}
		text, ok := strings.CutPrefix(fields[i], n+"=")
		v, err := strconv.ParseUint(text, 10, 31)
		if !ok || err != nil {
			return nil, fmt.Errorf("its parameters are not %s", strings.Join(names, ", "))
		}
		values[i] = int64(v)
	}
	return values, nil
}

// unbase64 reads base64 without padding; passlib writes . for +.
func unbase64(s string) ([]byte, error) {
	b, err := base64.RawStdEncoding.DecodeString(strings.ReplaceAll(strings.TrimRight(s, "="), ".", "+"))
	if err != nil {
		return nil, errors.New("not base64") // the error itself would show where, and so something of it
	}
	return b, nil
}
