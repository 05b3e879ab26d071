// Command bank is the guest program of the lab's roles bank, datagrams and bench: one
// member of the bank workload.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/snapline/snapline/lab/bank"
)

func main() {
	name := flag.String("name", "", "this member")
	peers := flag.String("peers", "", "all members, n1=10.77.0.11,n2=…")
	idle := flag.Bool("idle", false, "move no money; ping and write memory when told to")
	datagrams := flag.Bool("datagrams", false, "move money by datagrams that nobody acknowledges, too")
	flag.Parse()
	// More threads than the one processor, so that the kernel shares it out
	// between a busy memory writer and the network.
	runtime.GOMAXPROCS(4)
	if err := run(*name, *peers, bank.Config{Idle: *idle, Datagrams: *datagrams}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(name, peers string, cfg bank.Config) error {
	cfg.Name, cfg.Log = name, os.Stdout
	for _, word := range strings.Split(peers, ",") {
		n, address, ok := strings.Cut(word, "=")
		if !ok {
			return fmt.Errorf("peer %q: want NAME=ADDRESS", word)
		}
		cfg.Peers = append(cfg.Peers, bank.Peer{Name: n, Address: address})
	}
	m, err := bank.Start(cfg)
	if err != nil {
		return err
	}
	defer m.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return nil
}
