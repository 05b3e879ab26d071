// Package fencetest says what every implementation of snapline.Fences must do,
// and holds one in memory, so that agents can be tested without a kernel.
package fencetest
