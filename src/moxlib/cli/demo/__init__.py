"""`moxlib demo`: a queue at work on real messages and real SMTP servers, all on this machine.

load            messages from files
plan            who gets them, what is to happen to each, and whether it did (pure)
run             servers, queue and worker at work
feedback        what comes back of messages, and who hears of it
show            what one sees of it meanwhile
report          what one reads afterwards (pure)
"""
