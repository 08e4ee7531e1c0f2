"""All readers, in the order in which workers number them."""

from fuzzing import readers_data, readers_leftovers, readers_networks, readers_settings

READERS = (*readers_networks.READERS, *readers_data.READERS, *readers_settings.READERS, *readers_leftovers.READERS)
