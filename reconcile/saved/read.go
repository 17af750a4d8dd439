package saved

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Most is how long a file may be, in bytes.
const Most = 16 << 20

// Read reads a file that Write has written. It refuses one that was altered since, or is something else.
func Read(path string) (*Plan, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, Most+1))
	if err != nil {
		return nil, err
	}
	s, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func parse(data []byte) (*Plan, error) {
	if len(data) > Most {
		return nil, fmt.Errorf("longer than %d bytes", Most)
	}
	var head struct {
		Kind   string `json:"kind"`
		Format int    `json:"format"`
	}
	switch err := json.Unmarshal(data, &head); {
	case err != nil || head.Kind != Kind:
		return nil, errors.New("not a saved plan; fix: felhom-agent --plan --out FILE writes one")
	case head.Format != Format:
		return nil, fmt.Errorf("a saved plan of format %d, and this version reads format %d; fix: plan again with this version", head.Format, Format)
	}
	s := &Plan{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("altered since it was saved: %w; fix: plan again", err)
	}
	if sum, err := s.sum(); err != nil || sum != s.Sum || dec.More() {
		return nil, fmt.Errorf("altered since it was saved: its sum is %.12s, the content has %.12s; fix: plan again", s.Sum, sum)
	}
	return s, nil
}
