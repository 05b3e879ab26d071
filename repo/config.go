package repo

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/snapline/snapline"
)

// format is the layout that this version reads and writes.
const format = 1

const configName = "config.json"

// config says what the directory is.
type config struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"` // 128 random bits, base32
	Created time.Time `json:"created"`
}

// createConfig writes a new config, once: fs.ErrExist when there is one.
func createConfig(dir string) error {
	b, err := json.Marshal(config{Format: format, ID: rand.Text(), Created: time.Now().UTC()})
	if err != nil {
		return err
	}
	tmp, err := writeTmp(dir, append(b, '\n'))
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if err := link(tmp, filepath.Join(dir, configName)); err != nil {
		return err
	}
	return syncDir(dir)
}

// readConfig returns an fs.ErrNotExist when dir is no repository.
func readConfig(dir string) (config, error) {
	b, err := os.ReadFile(filepath.Join(dir, configName))
	if err != nil {
		return config{}, err
	}
	return decodeConfig(b)
}

var idRE = regexp.MustCompile(`^[A-Z2-7]{26}$`)

func decodeConfig(b []byte) (config, error) {
	var c config
	if err := json.Unmarshal(b, &c); err != nil {
		return config{}, fmt.Errorf("config.json: %w: %w", snapline.ErrDamaged, err)
	}
	if c.Format > format {
		return config{}, fmt.Errorf("it has format %d, and this version knows %d at the most; use a newer snapline", c.Format, format)
	}
	if c.Format < 1 || !idRE.MatchString(c.ID) {
		return config{}, fmt.Errorf("config.json: %w: format %d, id %q; restore it from a copy", snapline.ErrDamaged, c.Format, c.ID)
	}
	return c, nil
}
