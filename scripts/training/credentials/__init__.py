"""Training of the model that judges tokens near words such as password; nothing here is shipped."""
