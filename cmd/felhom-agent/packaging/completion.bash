# Completion of felhom-agent's command line for bash.
_felhom_agent() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local modes='--plan --once --watch --check --history --selftest --schema --routes --print-sudoers --print-setup --version
		--status --export --hold --release --eject --print-rollback'
	local options='--simulate --config -o -v --only --state --interval --timeout --log-level --log-format -vmid --for -m'
	case $prev in
	-o) COMPREPLY=($(compgen -W 'text json' -- "$cur")) ;;
	--log-level) COMPREPLY=($(compgen -W 'debug info warn error' -- "$cur")) ;;
	--log-format) COMPREPLY=($(compgen -W 'console json' -- "$cur")) ;;
	--state) COMPREPLY=($(compgen -d -- "$cur")) ;;
	--only | --interval | --timeout | -vmid | --hold | --release | --eject | --for | -m | --print-rollback) COMPREPLY=() ;;
	*)
		case $cur in
		-*) COMPREPLY=($(compgen -W "$modes $options" -- "$cur")) ;;
		*) COMPREPLY=($(compgen -f -- "$cur")) ;;
		esac
		;;
	esac
}
complete -o filenames -F _felhom_agent felhom-agent
