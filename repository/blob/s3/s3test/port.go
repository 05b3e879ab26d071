package s3test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listening is the TCP address that a process listens on, which nobody can take
// in between as a port picked beforehand can be. The process's sockets are in
// /proc/PID/fd, their addresses in /proc/PID/net/tcp (proc_pid_net(5)).
func listening(pid int) (string, error) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := filepath.Glob(filepath.Join(proc, "fd", "*"))
	if err != nil {
		return "", err
	}
	sockets := map[string]bool{}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil { // it may be closed by now
			sockets[target] = true
		}
	}
	table, err := os.ReadFile(filepath.Join(proc, "net", "tcp"))
	if err != nil {
		return "", err
	}
	const local, state, inode, listen = 1, 3, 9, "0A"
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > inode && f[state] == listen && sockets["socket:["+f[inode]+"]"] {
			_, port, _ := strings.Cut(f[local], ":")
			n, err := strconv.ParseUint(port, 16, 16)
			return net.JoinHostPort("127.0.0.1", strconv.FormatUint(n, 10)), err
		}
	}
	return "", fmt.Errorf("process %d listens on no port", pid)
}
