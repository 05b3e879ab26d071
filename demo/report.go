package main

import (
	"encoding/json"
	"os"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab/check"
)

type checkList = check.List

// report is out/demo.json.
type report struct {
	OK        bool              `json:"ok"`
	Error     string            `json:"error,omitempty"`
	Seconds   float64           `json:"seconds"`
	Load      loadReport        `json:"load"`
	RestoreMS float64           `json:"restore_ms"`
	Checks    checkList         `json:"checks"`
	Snapshot  snapline.Snapshot `json:"snapshot"`
	Second    *secondAct        `json:"second_act"`
}

// loadReport is what the etcd client saw.
type loadReport struct {
	Acknowledged int     `json:"acknowledged"`
	BeforeTake   int     `json:"acknowledged_before_take"`
	GapTakeMS    float64 `json:"longest_gap_during_take_ms,omitempty"`
	GapBeforeMS  float64 `json:"longest_gap_before_ms,omitempty"`
}

func (r report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
