package doctor

import (
	"context"
	"math"
	"slices"

	"github.com/snapline/snapline"
)

// maxPPM is half of what docs/PROTOCOL.md lets two clocks' rates differ by.
const maxPPM = 5000

func clock(_ context.Context, s System, _ Options) []snapline.Finding {
	c, err := s.Clock()
	if err != nil {
		return problem("", "the clock cannot be read: %v", err)
	}
	if math.Abs(c.PPM) > maxPPM {
		return problem("see who steers it (chronyc tracking, ntpq -p, adjtimex -p): deadlines hold for rates within 1 % of each other", "the clock is made to run %+.2f %% off", c.PPM/1e4)
	}
	if !slices.Contains([]string{"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "hpet", "acpi_pm", "xen"}, c.Source) {
		return warning("see the kernel's log for why a better clock was given up (dmesg | grep -i clocksource)", "the clock's source is %s: its rate is not to be relied on", c.Source)
	}
	return ok("%s, steered by %+.1f ppm", c.Source, c.PPM)
}

// leastSpace is what a spool needs beside the largest capture.
const leastSpace = 64 << 20

func space(_ context.Context, s System, o Options) []snapline.Finding {
	if o.Data == "" {
		return ok("not looked at: name the agent's directory with --data")
	}
	free, memory, err := s.Free(o.Data)
	const hint = "the memory of a VM that is captured goes there first: put --data on a larger disk, or free some space"
	switch {
	case err != nil:
		return problem("", "%s: %v", o.Data, err)
	case free < leastSpace:
		return problem(hint, "%s: %d MiB free", o.Data, free>>20)
	case free < memory:
		return warning(hint, "%s: %d MiB free, less than this host's memory (%d MiB)", o.Data, free>>20, memory>>20)
	}
	return ok("%s: %d MiB free", o.Data, free>>20)
}

func pressure(_ context.Context, s System, o Options) []snapline.Finding {
	switch err := s.Pressure(); {
	case err == nil:
		return ok("the kernel tells how busy it is")
	case o.Gentle:
		return warning("boot with psi=1, on a kernel with CONFIG_PSI", "--gentle cannot see whether the host is busy: %v", err)
	}
	return ok("the kernel does not tell how busy it is, which only agent --gentle needs")
}
