package topology

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Down ends every process in the lab's namespaces and removes them, and with
// them every interface inside. Nothing there is success. It may be called
// again after a failure, and whatever the last Up or Down got to.
func Down(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	all, err := existing(name)
	if err != nil {
		return err
	}
	if err := killAll(ctx, all); err != nil {
		return fmt.Errorf("network of lab %s: %w", name, err)
	}
	var errs []error
	for _, ns := range all {
		if err := ns.delete(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// killAll goes round until it finds nobody, for a process that it kills may
// have started another meanwhile.
func killAll(ctx context.Context, all []Namespace) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		found, err := processesIn(all)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, p := range found {
			if err := p.Kill(ctx); err != nil {
				return err
			}
		}
	}
}

// Leftovers lists what is left of a lab: namespaces and the processes inside.
func Leftovers(name string) ([]string, error) {
	all, err := existing(name)
	if err != nil {
		return nil, err
	}
	var left []string
	for _, ns := range all {
		left = append(left, "namespace "+string(ns))
	}
	found, err := processesIn(all)
	if err != nil {
		return left, err
	}
	for _, p := range found {
		left = append(left, fmt.Sprintf("process %d in namespace %s: %s", p.PID, p.Namespace, p))
	}
	return left, nil
}
