package host

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// identity is who a plugin's process is when it is not who hookmux is.
type identity struct {
	name string // as the config has it
	syscall.Credential
}

// findUser looks up "user" or "user:group", each by name or number; nil when
// that is who hookmux is.
func findUser(spec string) (*identity, error) {
	if spec == "" {
		return nil, nil
	}
	who := &identity{name: spec}
	name, group, alone := strings.Cut(spec, ":")
	find := user.Lookup
	uid, numeric := number(name)
	if numeric {
		find = user.LookupId
	}
	u, err := find(name)
	switch {
	case err == nil:
		if uid, numeric = number(u.Uid); !numeric {
			return nil, fmt.Errorf("process.user: %s has no numeric id here", name)
		}
	case !numeric:
		return nil, fmt.Errorf("process.user: there is no user %s on this machine", name)
	case !alone:
		return nil, fmt.Errorf("process.user: there is no user with the id %s on this machine; give it a group, such as %s:%s", name, name, name)
	}
	who.Uid = uid
	if alone {
		if who.Gid, err = findGroup(group); err != nil {
			return nil, err
		}
	} else if who.Gid, who.Groups, err = groupsOf(u); err != nil {
		return nil, err
	}
	switch me := os.Geteuid(); {
	case me == int(who.Uid) && os.Getegid() == int(who.Gid):
		return nil, nil
	case me != 0:
		return nil, fmt.Errorf("process.user: only root can start a plugin as another user (%s), and hookmux runs with the uid %d", spec, me)
	}
	return who, nil
}

func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

func findGroup(name string) (uint32, error) {
	if gid, ok := number(name); ok {
		return gid, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("process.user: there is no group %s on this machine", name)
	}
	gid, _ := number(g.Gid)
	return gid, nil
}

// groupsOf is a user's own group and all others that it is in.
func groupsOf(u *user.User) (gid uint32, all []uint32, err error) {
	ids, err := u.GroupIds()
	if err != nil {
		return 0, nil, fmt.Errorf("process.user: the groups of %s: %w", u.Username, err)
	}
	gid, ok := number(u.Gid)
	if !ok {
		return 0, nil, fmt.Errorf("process.user: %s has no numeric group here", u.Username)
	}
	for _, id := range ids {
		if g, ok := number(id); ok {
			all = append(all, g)
		}
	}
	return gid, all, nil
}

// own gives the user the folder of the plugin's socket, which nobody else may
// enter, and lets it, as everybody, pass through the one above, of which nobody
// else may read the names.
func (w *identity) own(socketDir string) error {
	if err := os.Chown(socketDir, int(w.Uid), int(w.Gid)); err != nil {
		return fmt.Errorf("process.user: the folder of the plugin's socket: %w", err)
	}
	above := filepath.Dir(socketDir)
	info, err := os.Stat(above)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o011 != 0o011 {
		if err := os.Chmod(above, info.Mode().Perm()|0o011); err != nil {
			return fmt.Errorf("process.user: the folder of the plugins' sockets: %w", err)
		}
	}
	if dir := w.barredFrom(socketDir); dir != "" {
		return fmt.Errorf("process.user: %s may not enter %s, and so not reach its socket; set TMPDIR to a folder below none such", w.name, dir)
	}
	return nil
}

// barredFrom is the first folder on the way into dir, seen from the root, that
// the user may not enter; "" if there is none.
func (w *identity) barredFrom(dir string) string {
	var way []string
	for d := dir; ; d = filepath.Dir(d) {
		way = append(way, d)
		if d == filepath.Dir(d) {
			break
		}
	}
	for _, d := range slices.Backward(way) {
		info, err := os.Stat(d)
		if err != nil {
			return ""
		}
		s, ok := info.Sys().(*syscall.Stat_t)
		if !ok || w.Uid == 0 {
			return ""
		}
		bit := os.FileMode(0o001)
		switch {
		case s.Uid == w.Uid:
			bit = 0o100
		case s.Gid == w.Gid || slices.Contains(w.Groups, s.Gid):
			bit = 0o010
		}
		if info.Mode()&bit == 0 {
			return d
		}
	}
	return ""
}

// explain says why a program could not be started as the user, or "".
func (w *identity) explain(err error, program, dir string) string {
	switch {
	case errors.Is(err, syscall.EPERM):
		return fmt.Sprintf("process.user: the system does not let hookmux start a plugin as %s, although it is root here (in a container: the capabilities SETUID and SETGID)", w.name)
	case errors.Is(err, syscall.EACCES):
		for _, d := range []string{filepath.Dir(program), dir} {
			if d == "" {
				continue
			}
			if barred := w.barredFrom(d); barred != "" {
				return fmt.Sprintf("process.user: %s may not enter %s, so it cannot run %s in %s", w.name, barred, program, dir)
			}
		}
		return fmt.Sprintf("%s: not executable for %s (process.user)", program, w.name)
	}
	return ""
}
