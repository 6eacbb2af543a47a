# Puts the job's PATH back in login shells, whose /etc/profile of the image has just replaced it. Silent, for any
# POSIX shell, and of no effect outside a Gangway container. Sourced by /etc/profile; bound there by Gangway.
#
# Directories of the job's PATH that are missing now are added: the job's order in front, our tools last.
if [ -r /run/gangway/environ ] && [ -x /opt/udiImage/tools/busybox ]; then
	# The environment is NUL-separated, which neither a shell nor busybox's awk and sed can read. With NUL for newline
	# and something else for newline, a line is one variable, whatever its value holds.
	_gangway_p=$(
		/opt/udiImage/tools/busybox tr '\n\0' '\001\n' </run/gangway/environ 2>/dev/null |
			/opt/udiImage/tools/busybox sed -n '/^PATH=/{s///;p;q;}'
	)
	_gangway_front='' _gangway_back=''
	while [ -n "$_gangway_p" ]; do
		_gangway_d=${_gangway_p%%:*}
		case $_gangway_p in
		*:*) _gangway_p=${_gangway_p#*:} ;;
		*) _gangway_p='' ;;
		esac
		case ":$PATH:$_gangway_front:$_gangway_back:" in
		*":$_gangway_d:"*) ;;
		*)
			case $_gangway_d in
			'') ;;
			/opt/udiImage/tools) _gangway_back=$_gangway_back:$_gangway_d ;;
			*) _gangway_front=$_gangway_front$_gangway_d: ;;
			esac
			;;
		esac
	done
	PATH=$_gangway_front$PATH$_gangway_back
	export PATH
	unset _gangway_p _gangway_d _gangway_front _gangway_back
fi
