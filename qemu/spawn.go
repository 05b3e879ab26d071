package qemu

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// spawn describes a process that is to live on after this one: in a session of
// its own, with nothing inherited but what is named here. It exists beside
// os/exec because that makes every descriptor it passes on blocking, and so
// the connection that a guard shares with us.
type spawn struct {
	Args []string
	Env  []string // nil: as this process
	Dir  string
	// Files maps the new process's descriptors to ours. 0 to 2 default to
	// /dev/null; gaps are closed.
	Files      map[int]int
	Credential *syscall.Credential
}

// start starts it in the calling thread's namespaces. The caller waits for it.
func (s spawn) start() (*os.Process, error) {
	path, err := exec.LookPath(s.Args[0])
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	last := 2
	for fd := range s.Files {
		last = max(last, fd)
	}
	files := make([]uintptr, last+1)
	for fd := range files {
		own, given := s.Files[fd]
		switch {
		case given:
			files[fd] = uintptr(own)
		case fd <= 2:
			files[fd] = null.Fd()
		default:
			files[fd] = ^uintptr(0)
		}
	}
	env := s.Env
	if env == nil {
		env = os.Environ()
	}
	pid, err := syscall.ForkExec(path, s.Args, &syscall.ProcAttr{
		Dir: s.Dir, Env: env, Files: files,
		Sys: &syscall.SysProcAttr{Setsid: true, Credential: s.Credential},
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return os.FindProcess(pid)
}
