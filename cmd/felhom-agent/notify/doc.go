// Package notify reports to the operator what needs a person: once per turn, by the command of agent.yaml.
package notify
