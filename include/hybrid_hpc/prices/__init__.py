"""What Azure asks for VMs, storage and traffic: a dated table, where it comes from, what is made of it."""
