package plan

// ExitCode is that of --plan: 0 nothing to do, 2 changes, 3 blocked, 6 both.
func (p *Plan) ExitCode() int {
	switch changes, held := p.Changes(), len(p.Blocked) > 0; {
	case changes && held:
		return 6
	case held:
		return 3
	case changes:
		return 2
	}
	return 0
}
