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

// maxMemory is the most that one hash may need, in bytes: what a database says must not
// end the process.
const maxMemory = 512 << 20

// verifyPHC checks a hash in the PHC string format, $id$parameters$salt$hash:
//
//	$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH
//	$scrypt$ln=16,r=8,p=1$SALT$HASH
//	$pbkdf2-sha256$29000$SALT$HASH         (as Python's passlib writes it)
func verifyPHC(stored string, password []byte) (bool, error) {
	parts := strings.Split(stored, "$")
	if len(parts) < 5 || parts[0] != "" {
		return false, errors.New("it is of no form that is known: bcrypt, or $argon2id$, $scrypt$ or $pbkdf2-…$")
	}
	id, params := parts[1], parts[2:len(parts)-2]
	salt, err := unbase64(parts[len(parts)-2])
	if err != nil {
		return false, fmt.Errorf("the salt of its %s: %w", id, err)
	}
	want, err := unbase64(parts[len(parts)-1])
	if err != nil || len(want) < 16 || len(want) > 1024 {
		return false, fmt.Errorf("the hash of its %s is not 16 to 1024 bytes in base64", id)
	}
	have, err := derive(id, params, salt, password, len(want))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(have, want) == 1, nil
}

func derive(id string, params []string, salt, password []byte, n int) ([]byte, error) {
	mac, isPBKDF2 := strings.CutPrefix(id, "pbkdf2-")
	switch {
	case id == "argon2id" && len(params) == 2 && params[0] == "v=19":
		v, err := numbers(params[1], "m", "t", "p")
		if err != nil {
			return nil, err
		}
		m, t, p := v[0], v[1], v[2]
		if m < 8*p || m<<10 > maxMemory || t < 1 || t > 1000 || p < 1 || p > 255 {
			return nil, fmt.Errorf("argon2id with m=%d, t=%d, p=%d: not allowed, or more than %d MiB", m, t, p, maxMemory>>20)
		}
		return argon2.IDKey(password, salt, uint32(t), uint32(m), uint8(p), uint32(n)), nil
	case id == "scrypt" && len(params) == 1:
		v, err := numbers(params[0], "ln", "r", "p")
		if err != nil {
			return nil, err
		}
		ln, r, p := v[0], v[1], v[2]
		if ln < 1 || ln > 24 || r < 1 || r > 64 || p < 1 || p > 64 || 128*r<<ln > maxMemory {
			return nil, fmt.Errorf("scrypt with ln=%d, r=%d, p=%d: not allowed, or more than %d MiB", ln, r, p, maxMemory>>20)
		}
		return scrypt.Key(password, salt, 1<<ln, r, p, n)
	case isPBKDF2 && len(params) == 1 && macs[mac] != nil:
		rounds, err := strconv.Atoi(params[0])
		if err != nil || rounds < 1 || rounds > maxIterations {
			return nil, fmt.Errorf("pbkdf2 without rounds from 1 to %d", maxIterations)
		}
		return pbkdf2.Key(macs[mac], string(password), salt, rounds, n)
	}
	return nil, errors.New("it is of no form that is known: bcrypt, or $argon2id$v=19$, $scrypt$ or $pbkdf2-…$")
}

// numbers reads m=1,t=2,p=3, in this order.
func numbers(s string, names ...string) ([]int, error) {
	fields := strings.Split(s, ",")
	values := make([]int, len(names))
	for i, n := range names {
		if len(fields) != len(names) {
			return nil, fmt.Errorf("its parameters are not %s", strings.Join(names, ", "))
		}
		text, ok := strings.CutPrefix(fields[i], n+"=")
		v, err := strconv.ParseUint(text, 10, 31)
		if !ok || err != nil {
			return nil, fmt.Errorf("its parameters are not %s", strings.Join(names, ", "))
		}
		values[i] = int(v)
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
