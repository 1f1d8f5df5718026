"""A CycleCloud server for people without Azure: the documented REST API, with processes as VMs.

::

    config.py       what it is told: nodearrays, VM sizes, the command that a VM runs
    model.py        the bodies of requests and answers
    faults.py       what it can be told to do wrong
    misbehaviour.py how that begins and ends
    stalling.py     answers that never come
    node.py         one node's life, without I/O
    limits.py       how many nodes fit, without I/O
    status.py       what GET status says, without I/O
    usage.py        core-hours and cost, without I/O
    filters.py      the filter expressions of node requests, without I/O
    store.py        what survives a crash of the server
    machines.py     VMs as processes
    cloud.py        the nodes, and how time moves them on
    creation.py     nodes that come
    management.py   nodes that are started, shut down, terminated
    health.py       what Azure is told about machines that are not well
    answers.py      questions
    auth.py         HTTP Basic and the account's lock-out
    routes.py       the routes
    openapi.py      their description
    app.py          the application
"""
