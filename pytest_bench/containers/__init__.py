"""Containers that serve a deployment: started as asked, verified from inside, and removed whatever happens.

    serving       the containers of a deployment from image to removal, as a context manager
    group         the containers that run, by role
    engine        the connection to the Docker engine
    builds        images that are built here
    images        which image runs, and where it came from
    image_cache   images as files that nodes share
    identity      what makes two images the same
    container     a running container: state, log, and what runs in it
    request       what the engine is asked for, from a plan and this host
    environment   the variables of a container, with those that come from the host
    commands      programs that are run in a container
    processes     what runs in a container, read from its /proc
    verification  what was asked for beside what the serving process has
    log           the container's log, followed while it runs
    diagnostics   what is known about a container that failed
    artifacts     files copied out of a container
    ownership     labels, by which containers of dead sessions are found and removed
    watchdog      a process that removes the container if this one is killed
    evidence      what is written about a container

Only this room imports the Docker SDK.
"""
