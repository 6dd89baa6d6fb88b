package main

import (
	"strings"
	"testing"
)

// Hashes that others have made: EMQX's own tests, RFC 6070's, passlib's documentation,
// Python's hashlib, the reference implementation of Argon2.
func TestHashesOfOthers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		scheme     scheme
		password   string
		hash, salt string
		wrong      string
	}{
		{name: "plain", scheme: scheme{Name: "plain"}, password: "plain", hash: "plain"},
		{name: "md5 suffix", scheme: scheme{Name: "md5", SaltPosition: "suffix"}, password: "md5", hash: "9b4d0c43d206d48279e69b9ad7132e22", salt: "salt"},
		{name: "md5 upper case", scheme: scheme{Name: "md5", SaltPosition: "suffix"}, password: "md5", hash: "9B4D0C43D206D48279E69B9AD7132E22", salt: "salt"},
		{name: "md5 bytes", scheme: scheme{Name: "md5", SaltPosition: "suffix"}, password: "md5", hash: "\x9b\x4d\x0c\x43\xd2\x06\xd4\x82\x79\xe6\x9b\x9a\xd7\x13\x2e\x22", salt: "salt"},
		{name: "sha256 prefix", scheme: scheme{Name: "sha256", SaltPosition: "prefix"}, password: "sha256", hash: "ac63a624e7074776d677dd61a003b8c803eb11db004d0ec6ae032a5d7c9c5caf", salt: "salt"},
		{name: "sha suffix", scheme: scheme{Name: "sha", SaltPosition: "suffix"}, password: "abc", hash: "84983e441c3bd26ebaae4aa1f95129e5e54670f1", salt: "dbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", wrong: "dbc"},
		{name: "sha512 no salt", scheme: scheme{Name: "sha512", SaltPosition: "disable"}, password: "abc", hash: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f", salt: "ignored"},
		{name: "bcrypt 2b", scheme: scheme{Name: "bcrypt"}, password: "bcrypt", hash: "$2b$12$wtY3h20mUjjmeaClpqZVveDWGlHzCGsvuThMlneGHA7wVeFYyns2u"},
		{name: "pbkdf2", scheme: scheme{Name: "pbkdf2", MacFun: "sha", Iterations: 2, DkLength: 32}, password: "password", hash: "01dbee7f4a9e243e988b62c73cda935da05378b93244ec8f48a99e61ad799d86", salt: "ATHENA.MIT.EDUraeburn"},
		{name: "pbkdf2 own length", scheme: scheme{Name: "pbkdf2", MacFun: "sha", Iterations: 4096}, password: "password", hash: "4b007901b765489abead49d926f721d065a429c1", salt: "salt"},
		{name: "argon2id", password: "password", hash: "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{name: "scrypt", password: "password", hash: "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"},
		{name: "passlib", password: "password", hash: "$pbkdf2-sha256$6400$MDEyMzQ1Njc4OWFiY2RlZg$GAgw.j2X2FQf6rCn19KJonkGfQQsVMJDdhR2EPZ/a9I"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tt.scheme
			if err := s.check(); err != nil {
				t.Fatal(err)
			}
			u := user{hash: []byte(tt.hash), salt: []byte(tt.salt)}
			if ok, err := s.verify(u, []byte(tt.password)); !ok || err != nil {
				t.Errorf("right password: %v %v", ok, err)
			}
			for _, w := range []string{"", tt.password + "x", "\x00" + tt.password, strings.ToUpper(tt.password) + "1", tt.hash + "1", tt.wrong + "!", strings.Repeat("x", 64<<10)} {
				if ok, err := s.verify(u, []byte(w)); ok || err != nil {
					t.Errorf("wrong password %.20q: %v %v", w, ok, err)
				}
			}
		})
	}
}

// What is no hash lets nobody in, whatever the password is, and no error shows it.
func TestWhatIsNoHash(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		scheme scheme
		hash   string
	}{
		{scheme{}, ""}, {scheme{Name: "plain"}, ""}, {scheme{Name: "md5"}, ""},
		{scheme{}, "*"}, {scheme{}, "!"}, {scheme{}, "secret-hash"}, {scheme{}, "$"}, {scheme{}, "$$$$$"},
		{scheme{Name: "bcrypt"}, "secret-hash"}, {scheme{}, "$2b$12$secret-hash"}, {scheme{}, "$2b$31$wtY3h20mUjjmeaClpqZVveDWGlHzCGsvuThMlneGHA7wVeFYyns2u"},
		{scheme{Name: "bcrypt"}, "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{scheme{}, "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{scheme{}, "$argon2id$v=19$m=65536,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{scheme{}, "$argon2id$v=19$m=1,t=1,p=0$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{scheme{}, "$argon2id$v=19$m=65536,t=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{scheme{}, "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{scheme{}, "$argon2id$v=19$m=65536,t=2,p=1$secret-hash!$CTFh"}, {scheme{}, "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$"},
		{scheme{}, "$scrypt$ln=30,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"},
		{scheme{}, "$scrypt$ln=-1,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"},
		{scheme{}, "$pbkdf2-sha256$99999999999$0ZrzXitFSGltTQnBWOsdYw$Y11AchqV4b0sUisdZd0Xr97KWoymNE0LNNrnEgY4H9M"},
		{scheme{}, "$pbkdf2-md4$6400$0ZrzXitFSGltTQnBWOsdYw$Y11AchqV4b0sUisdZd0Xr97KWoymNE0LNNrnEgY4H9M"},
		{scheme{Name: "sha256"}, "secret-hash"}, {scheme{Name: "sha256"}, strings.Repeat("g", 64)}, {scheme{Name: "sha256"}, strings.Repeat("a", 62)},
		{scheme{Name: "pbkdf2", MacFun: "sha256", Iterations: 1}, "ab"},
	} {
		s := tt.scheme
		if err := s.check(); err != nil {
			t.Fatal(err)
		}
		for _, password := range []string{"", "password", tt.hash} {
			ok, err := s.verify(user{hash: []byte(tt.hash)}, []byte(password))
			if ok || err == nil {
				t.Errorf("%s %q with %q: %v %v", s.Name, tt.hash, password, ok, err)
			} else if strings.Contains(err.Error(), "secret") {
				t.Errorf("shows the hash: %v", err)
			}
		}
	}
}

// A hash that would keep a CPU busy for long is refused without an attempt, also where an int has 32 bits; and what is
// dear, if allowed, does not become what unknown users cost.
func TestDearHashes(t *testing.T) {
	t.Parallel()
	const rest = "$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for hash, want := range map[string]string{
		"$argon2id$v=19$m=524288,t=9,p=1" + rest: "4096 MiB times t", "$argon2id$v=19$m=8,t=524289,p=1" + rest: "times t", "$argon2id$v=19$m=4194368,t=1,p=1" + rest: "more than 512 MiB",
		"$argon2id$v=19$m=2147483647,t=2147483647,p=1" + rest: "more than 512 MiB", "$argon2id$v=19$m=0,t=1,p=0" + rest: "not allowed",
		"$scrypt$ln=19,r=8,p=3" + rest: "1024 MiB times p", "$scrypt$ln=24,r=64,p=1" + rest: "more than 512 MiB",
		"$pbkdf2-sha256$10000001" + rest: "from 1 to 10000000", "$pbkdf2-sha256$312501$AAAA$" + strings.Repeat("A", 1364): "from 1 to 312500, for a key of 1023 bytes",
		"$2a$17$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy": "cost is 17",
	} {
		if ok, err := (&scheme{}).verify(user{hash: []byte(hash)}, []byte("x")); ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %s", hash, err, want)
		}
	}
	s := scheme{Name: "pbkdf2", MacFun: "sha256", Iterations: 312_501, DkLength: 1024}
	if err := s.check(); err == nil || !strings.Contains(err.Error(), "1 to 312500") {
		t.Error(err)
	}
	var d dummy
	for hash, learned := range map[string]bool{
		"$argon2id$v=19$m=65536,t=3,p=4" + rest: true, "$argon2id$v=19$m=524288,t=1,p=1" + rest: true, "$argon2id$v=19$m=524288,t=2,p=1" + rest: false,
		"$scrypt$ln=17,r=8,p=1" + rest: true, "$scrypt$ln=18,r=8,p=1" + rest: false, "$pbkdf2-sha256$600000" + rest: true, "$pbkdf2-sha512$2000000" + rest: false,
		"$2a$13$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy": true, "$2a$14$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy": false,
		"0123456789abcdef": true, "plain": true,
	} {
		d.last.Store(nil)
		d.learn(user{hash: []byte(hash)})
		if got := d.last.Load() != nil; got != learned {
			t.Errorf("%.40s: learned %v", hash, got)
		}
	}
}

func TestSchemeErrors(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]scheme{
		`"name" is "sha1"; allowed: bcrypt, argon2id`:            {Name: "sha1"},
		`"salt_position" is "infix"; allowed: prefix`:            {Name: "md5", SaltPosition: "infix"},
		`"salt_position" is for md5`:                             {Name: "bcrypt", SaltPosition: "prefix"},
		`"mac_fun" is ""; allowed: md5, sha, sha224`:             {Name: "pbkdf2", Iterations: 1},
		`"iterations" is 0; allowed: 1 to`:                       {Name: "pbkdf2", MacFun: "sha256"},
		`"dk_length" is 8; allowed: 16 to`:                       {Name: "pbkdf2", MacFun: "sha256", Iterations: 1, DkLength: 8},
		`"mac_fun", "iterations" and "dk_length" are for pbkdf2`: {Name: "md5", Iterations: 1},
	} {
		if err := s.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", s, err, want)
		}
	}
}

// Every scheme has a row for users who are unknown that is really worked on.
func TestTypicalRowsAreChecked(t *testing.T) {
	t.Parallel()
	for _, s := range []scheme{{}, {Name: "bcrypt"}, {Name: "argon2id"}, {Name: "scrypt"}} {
		if ok, err := s.verify(*s.typical(), []byte("x")); ok || err != nil {
			t.Errorf("%s: %v %v", s.Name, ok, err)
		}
	}
}
