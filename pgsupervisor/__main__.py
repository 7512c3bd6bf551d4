"""`python -m pgsupervisor` is pgsupervisord."""

import sys

from pgsupervisor.daemon.main import main

sys.exit(main())
