package privileged

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// The protocol of the fence: one request, a JSON object, until the end of the input; then lines of JSON: `accepted` when the request could be read,
// any number of `progress`, and one line with the outcome. Whoever meets another format number says so and stops.

const format = 1

type request struct {
	Format  int    `json:"format"`
	Timeout int64  `json:"timeout_ms"` // after this the answer ends; an act goes on
	Op      *Op    `json:"op,omitempty"`
	Query   *Query `json:"query,omitempty"`
}

type response struct {
	Format   int             `json:"format"`
	Accepted bool            `json:"accepted,omitempty"`
	Progress string          `json:"progress,omitempty"`
	Result   *Result         `json:"result,omitempty"`
	Answer   json.RawMessage `json:"answer,omitempty"`
	Refused  *RefusedError   `json:"refused,omitempty"`
	Failed   *FailedError    `json:"failed,omitempty"`
}

const (
	maxRequest = 256 << 10
	maxLine    = 16 << 20 // of a response
	maxTimeout = 48 * time.Hour
)

// decodeRequest is strict: one object, no unknown and no repeated keys, exactly one of Op and Query.
func decodeRequest(data []byte) (request, error) {
	refuse := func(reason string) (request, error) {
		return request{}, &RefusedError{Op: "the request", Reason: reason, Fix: "Install felhom-agent and felhom-fence of one version"}
	}
	if len(data) > maxRequest {
		return refuse(fmt.Sprintf("it is longer than %d bytes", maxRequest))
	}
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return refuse("it is not one complete JSON object: " + err.Error())
	}
	if head.Format != format {
		return refuse(fmt.Sprintf("it has format %d; this root helper speaks format %d", head.Format, format))
	}
	if err := onceEach(json.NewDecoder(bytes.NewReader(data))); err != nil {
		return refuse(err.Error())
	}
	var r request
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return refuse(err.Error())
	}
	if (r.Op == nil) == (r.Query == nil) {
		return refuse("it must hold either an op or a query")
	}
	if r.Timeout <= 0 || time.Duration(r.Timeout) > maxTimeout/time.Millisecond {
		return refuse("its timeout is not between a millisecond and two days")
	}
	return r, nil
}

// onceEach refuses objects that name a key twice, which decoders read in different ways.
func onceEach(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			k, err := d.Token()
			if err != nil {
				return err
			}
			key := strings.ToLower(k.(string))
			if seen[key] {
				return fmt.Errorf("it names %q twice", clip(key, 40))
			}
			seen[key] = true
		}
		if err := onceEach(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// Refuse answers whoever may not even ask.
func Refuse(out io.Writer, err error) { say(out, outcome(err)) }

// say writes one line of an answer. Whoever does not listen any more does not stop the operation.
func say(out io.Writer, r response) {
	r.Format = format
	line, err := json.Marshal(r)
	if err != nil {
		line, _ = json.Marshal(response{Format: format, Failed: &FailedError{Op: "the answer", Reason: err.Error()}})
	}
	out.Write(append(line, '\n'))
}

// Serve answers one request. It returns when the answer is given; an operation whose deadline passed goes on in l (see [Local.Wait]).
func Serve(ctx context.Context, l *Local, in io.Reader, out io.Writer) {
	data, err := io.ReadAll(io.LimitReader(in, maxRequest+1))
	if err != nil {
		say(out, response{Refused: &RefusedError{Op: "the request", Reason: "it could not be read: " + err.Error()}})
		return
	}
	r, err := decodeRequest(data)
	if err != nil {
		say(out, outcome(err))
		return
	}
	say(out, response{Accepted: true})
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.Timeout)*time.Millisecond)
	defer cancel()
	if r.Query != nil {
		say(out, l.answer(ctx, *r.Query))
		return
	}
	result, err := l.Do(ctx, *r.Op, func(line string) { say(out, response{Progress: line}) })
	if err != nil {
		say(out, outcome(err))
		return
	}
	say(out, response{Result: &result})
}

// answer answers a query until ctx ends, also where the kernel keeps the query itself waiting, at a disk that does not answer.
func (l *Local) answer(ctx context.Context, q Query) response {
	answers := make(chan response, 1)
	go func() {
		answer, err := l.Ask(ctx, q)
		if err != nil {
			answers <- outcome(err)
			return
		}
		answers <- response{Answer: answer.Data}
	}()
	select {
	case r := <-answers:
		return r
	case <-ctx.Done():
	}
	select {
	case r := <-answers:
		return r
	case <-time.After(time.Second):
		return outcome(&FailedError{Op: q.Name, Reason: "it did not end in time; a disk or a network storage of this machine may hang: dmesg"})
	}
}

func outcome(err error) response {
	var refused *RefusedError
	var failed *FailedError
	switch {
	case errors.As(err, &refused):
		return response{Refused: refused}
	case errors.As(err, &failed):
		return response{Failed: failed}
	}
	return response{Failed: &FailedError{Op: "the request", Reason: err.Error()}}
}

// errLost says that the answer ended without an outcome.
var errLost = errors.New("it ended without an answer")

// converse reads the answer up to its outcome. accepted says whether the fence had read the request.
func converse(from io.Reader, progress func(string)) (r response, accepted bool, err error) {
	lines := bufio.NewReaderSize(from, 64<<10)
	for {
		line, err := readLine(lines)
		if err != nil {
			return response{}, accepted, err
		}
		var r response
		if err := json.Unmarshal(line, &r); err != nil {
			return response{}, accepted, fmt.Errorf("its answer cannot be read: %q", clip(printable(string(line)), 200))
		}
		switch {
		case r.Format != format:
			return response{}, accepted, fmt.Errorf("its answer has format %d; this agent speaks format %d. Install felhom-agent and felhom-fence of one version", r.Format, format)
		case r.Result != nil || r.Answer != nil || r.Refused != nil || r.Failed != nil:
			return r, accepted, nil
		case r.Accepted:
			accepted = true
		case r.Progress != "" && progress != nil:
			progress(r.Progress)
		}
	}
}

func readLine(from *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := from.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case err == io.EOF && len(line) == 0:
			return nil, errLost
		case err == io.EOF:
			return nil, fmt.Errorf("%w: its last line is cut off", errLost)
		case err != bufio.ErrBufferFull:
			return nil, err
		case len(line) > maxLine:
			return nil, fmt.Errorf("its answer is longer than %d MiB", maxLine>>20)
		}
	}
}

// answerOf and resultOf take what they wait for out of a response.
func answerOf(r response, err error) (Answer, error) {
	if err = r.failure(err); err == nil && r.Answer == nil {
		err = errors.New("the root helper answered a query with the result of an operation")
	}
	return Answer{Data: r.Answer}, err
}

func resultOf(r response, err error) (Result, error) {
	if err = r.failure(err); err == nil && r.Result == nil {
		err = errors.New("the root helper answered an operation with the answer to a query")
	}
	if err != nil {
		return Result{}, err
	}
	return *r.Result, nil
}

// failure is err, else what the fence says went wrong.
func (r response) failure(err error) error {
	switch {
	case err != nil:
		return err
	case r.Refused != nil:
		return r.Refused
	case r.Failed != nil:
		return r.Failed
	}
	return nil
}
