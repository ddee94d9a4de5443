"""Set-up of one machine and the local stack that `make up` starts.

- `bootstrap` installs uv and the Python packages (runs before there are any, so it imports none)
- `tools` finds or builds the binaries; `setup` shows that as steps
- `processes` knows pid files; `services` knows how each part is started and when it answers; `stack` puts them together
- `demo` and `bench` use the stack
"""
