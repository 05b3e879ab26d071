package bpf

// The compiled programs are committed, so that building needs no clang. `make
// generate` must give the same bytes again (clang 14, Debian 12).
//go:generate go tool bpf2go -target bpfel -go-package bpf gate gate.c -- -Wall -Wextra -Werror
//go:generate go tool bpf2go -target bpfel -go-package bpf fence fence.c -- -Wall -Wextra -Werror
