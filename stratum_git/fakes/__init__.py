"""Stand-ins for what is far away or costs money: scripted, on 127.0.0.1, ending by themselves."""
