package main

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/simulated"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// The pipelines in examples/ci plan and apply against a simulated node that is served by HTTPS. Only their steps that
// move the plan from one job to the next are left out: they need the forge.
func TestPipelines(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "felhom-agent")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for file, steps := range map[string]func(*testing.T, []byte) [][]string{"github.yaml": githubSteps, "gitlab.yaml": gitlabSteps} {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("..", "..", "examples", "ci", file))
			if err != nil {
				t.Fatal(err)
			}
			sim := pvesim.New()
			repository := t.TempDir()
			if err := os.CopyFS(filepath.Join(repository, "desired"), os.DirFS("testdata/pipeline")); err != nil {
				t.Fatal(err)
			}
			env := append(served(t, sim), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "STATE_DIRECTORY="+t.TempDir())
			jobs := steps(t, text)
			if len(jobs) != 2 || len(jobs[0]) == 0 || len(jobs[1]) == 0 {
				t.Fatalf("the jobs are %q", jobs)
			}
			for _, script := range slices.Concat(jobs...) {
				cmd := exec.Command("bash", "-ec", script)
				cmd.Dir, cmd.Env = repository, env
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s\n%v\n%s", script, err, out)
				}
			}
			if world, _ := sim.Save(); !strings.Contains(string(world), "memory: 640") {
				t.Error("the plan was not carried out")
			}
		})
	}
}

// served serves a node by HTTPS, and returns the environment in which the agent finds it.
func served(t *testing.T, sim *pvesim.Sim) []string {
	sim.SetSpeed(simulated.WorldSpeed)
	server := httptest.NewTLSServer(sim)
	t.Cleanup(server.Close)
	sum := sha256.Sum256(server.Certificate().Raw)
	return []string{"FELHOM_AGENT_URL=" + server.URL, "FELHOM_AGENT_FINGERPRINT=" + hex.EncodeToString(sum[:]), "FELHOM_AGENT_NODE=" + sim.Node(),
		"FELHOM_AGENT_TOKEN_ID=" + sim.TokenID(), "FELHOM_AGENT_TOKEN_SECRET=" + sim.TokenSecret(), "FELHOM_AGENT_RUNNER=none"}
}

func githubSteps(t *testing.T, text []byte) (jobs [][]string) {
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct{ Run string }
		}
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	for _, job := range []string{"plan", "apply"} {
		var scripts []string
		for _, step := range workflow.Jobs[job].Steps {
			scripts = append(scripts, step.Run)
		}
		jobs = append(jobs, ofAgent(scripts))
	}
	return jobs
}

func gitlabSteps(t *testing.T, text []byte) (jobs [][]string) {
	var pipeline struct {
		Plan, Apply struct{ Script []string }
	}
	if err := yaml.Unmarshal(text, &pipeline); err != nil {
		t.Fatal(err)
	}
	return [][]string{ofAgent(pipeline.Plan.Script), ofAgent(pipeline.Apply.Script)}
}

// ofAgent are the scripts that run the agent.
func ofAgent(scripts []string) []string {
	return slices.DeleteFunc(scripts, func(s string) bool { return !strings.Contains(s, "felhom-agent --") })
}
