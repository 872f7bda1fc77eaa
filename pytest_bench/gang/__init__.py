"""One deployment whose containers run on several nodes of a Slurm allocation: a gang.

    launching  starts one agent on every node, and ends them; the containers as the session sees them
    agent      the program that runs on every node: prepares images, starts containers, and answers questions about them
    images     every node gets the same image, before any of them starts a container
    status     what each agent leaves in its own folder, and which failure came first
    messages   what the session and the agents tell each other

The agents meet in a rendezvous (`cluster/rendezvous.py`), by which a failure on one node ends all of them within
seconds. They talk to the session through the standard streams of the Slurm step, so that they end when it ends.
"""
