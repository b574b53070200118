"""The first shape of the registry."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

# Types as they were with this revision: the models go on, a migration stays.
ID = sa.Uuid(as_uuid=False).with_variant(sa.CHAR(36), "sqlite")
INSTANT = sa.DateTime(timezone=True)
PATH = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
DOCUMENT = sa.JSON(none_as_null=True).with_variant(
    postgresql.JSONB(none_as_null=True), "postgresql"
)


def upgrade() -> None:
    op.create_table(
        "changes",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("user_name", sa.String(length=100), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("object_id", sa.String(length=36), nullable=False),
        sa.Column("organization_path", PATH, nullable=False),
        sa.Column("details", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
    )
    op.create_index(op.f("ix_changes_kind_object_id"), "changes", ["kind", "object_id"])
    op.create_index(op.f("ix_changes_organization_path_id"), "changes", ["organization_path", "id"])
    op.create_table(
        "jobs",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("report", DOCUMENT, nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'cancelled')",
            name=op.f("ck_jobs_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint(
            "user_id", "kind", "idempotency_key", name=op.f("uq_jobs_user_id_kind_idempotency_key")
        ),
    )
    op.create_index(op.f("ix_jobs_state"), "jobs", ["state"])
    op.create_table(
        "organizations",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("slug", sa.String(length=63), nullable=False),
        sa.Column("path", PATH, nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("code", sa.String(length=12), nullable=True),
        sa.Column("region", sa.String(length=12), nullable=True),
        sa.Column("jurisdiction", DOCUMENT, nullable=True),
        sa.Column("area_m2", sa.BigInteger(), nullable=True),
        sa.Column("west_deg", sa.Double(), nullable=True),
        sa.Column("south_deg", sa.Double(), nullable=True),
        sa.Column("east_deg", sa.Double(), nullable=True),
        sa.Column("north_deg", sa.Double(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "kind = 'district' OR parent_id IS NOT NULL",
            name=op.f("ck_organizations_root_is_district"),
        ),
        sa.CheckConstraint(
            "kind IN ('district', 'station', 'workroom')", name=op.f("ck_organizations_kind")
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["organizations.id"],
            name=op.f("fk_organizations_parent_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("code", name=op.f("uq_organizations_code")),
        sa.UniqueConstraint("path", name=op.f("uq_organizations_path")),
    )
    op.create_index(op.f("ix_organizations_parent_id"), "organizations", ["parent_id"])
    op.create_index(
        op.f("ix_organizations_west_deg_east_deg"), "organizations", ["west_deg", "east_deg"]
    )
    op.create_table(
        "users",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "devices",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("adapter", sa.String(length=64), nullable=False),
        sa.Column("endpoint", sa.String(length=500), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("username", sa.String(length=200), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("settings", DOCUMENT, nullable=False),
        sa.Column("manufacturer", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("serial", sa.String(length=200), nullable=False),
        sa.Column("firmware", sa.String(length=200), nullable=False),
        sa.Column("endpoint_reference", sa.String(length=200), nullable=False),
        sa.Column("clock_offset_s", sa.Double(), nullable=True),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("status_since", INSTANT, nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("sources", DOCUMENT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "status IN ('online', 'offline', 'fault', 'unknown')", name=op.f("ck_devices_status")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_devices_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
        sa.UniqueConstraint(
            "organization_id",
            "adapter",
            "endpoint",
            name=op.f("uq_devices_organization_id_adapter_endpoint"),
        ),
    )
    op.create_index(op.f("ix_devices_endpoint_reference"), "devices", ["endpoint_reference"])
    op.create_index(op.f("ix_devices_organization_id"), "devices", ["organization_id"])
    op.create_table(
        "patches",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("hang_s", sa.Double(), nullable=False),
        sa.Column("max_talk_s", sa.Double(), nullable=False),
        sa.Column("queue", sa.Boolean(), nullable=False),
        sa.Column("until", INSTANT, nullable=True),
        sa.Column("schedule", DOCUMENT, nullable=True),
        sa.Column("voice", sa.String(length=8), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "voice IN ('frames', 'silence', 'events')", name=op.f("ck_patches_voice")
        ),
        sa.CheckConstraint("hang_s >= 0 AND max_talk_s > 0", name=op.f("ck_patches_times")),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_patches_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patches")),
    )
    op.create_index(op.f("ix_patches_organization_id"), "patches", ["organization_id"])
    op.create_table(
        "roles",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("ends_at", INSTANT, nullable=True),
        sa.CheckConstraint(
            "role IN ('viewer', 'dispatcher', 'integrator', 'auditor', 'clear_view', 'admin')",
            name=op.f("ck_roles_role"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_roles_organization_id_organizations"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_roles_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "role", "organization_id", name=op.f("pk_roles")),
    )
    op.create_index(op.f("ix_roles_organization_id"), "roles", ["organization_id"])
    op.create_table(
        "sessions",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("signed_in_at", INSTANT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_sessions_token_hash")),
    )
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"])
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"])
    op.create_table(
        "systems",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("adapter", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("settings", DOCUMENT, nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_systems_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_systems")),
        sa.UniqueConstraint(
            "organization_id", "name", name=op.f("uq_systems_organization_id_name")
        ),
    )
    op.create_index(op.f("ix_systems_organization_id"), "systems", ["organization_id"])
    op.create_table(
        "units",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("alias", sa.String(length=200), nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint("priority BETWEEN 0 AND 255", name=op.f("ck_units_priority")),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_units_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_units")),
    )
    op.create_index(op.f("ix_units_organization_id"), "units", ["organization_id"])
    op.create_table(
        "channels",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("system_id", ID, nullable=False),
        sa.Column("address", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("gateway_unit_id", sa.String(length=64), nullable=False),
        sa.Column("hold_s", sa.Double(), nullable=True),
        sa.Column("echo_s", sa.Double(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint("kind IN ('trunk', 'ptt')", name=op.f("ck_channels_kind")),
        sa.CheckConstraint("priority BETWEEN 0 AND 255", name=op.f("ck_channels_priority")),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_channels_organization_id_organizations"),
        ),
        sa.ForeignKeyConstraint(
            ["system_id"], ["systems.id"], name=op.f("fk_channels_system_id_systems")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channels")),
        sa.UniqueConstraint("system_id", "address", name=op.f("uq_channels_system_id_address")),
    )
    op.create_index(op.f("ix_channels_organization_id"), "channels", ["organization_id"])
    op.create_table(
        "points",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=20), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("place", sa.String(length=400), nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("home_id", ID, nullable=False),
        sa.Column("assigned_by", sa.String(length=8), nullable=False),
        sa.Column("longitude", sa.Double(), nullable=True),
        sa.Column("latitude", sa.Double(), nullable=True),
        sa.Column("category", sa.SmallInteger(), nullable=False),
        sa.Column("ownership", sa.String(length=16), nullable=False),
        sa.Column("device_id", ID, nullable=True),
        sa.Column("address", sa.String(length=200), nullable=True),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("channel_number", sa.Integer(), nullable=True),
        sa.Column("profiles", DOCUMENT, nullable=False),
        sa.Column("capabilities", DOCUMENT, nullable=False),
        sa.Column("masked", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("status_since", INSTANT, nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=False),
        sa.Column("attributes", DOCUMENT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "assigned_by IN ('explicit', 'polygon', 'none')", name=op.f("ck_points_assigned_by")
        ),
        sa.CheckConstraint(
            "ownership IN ('public_security', 'community', 'property', 'enterprise', 'other')",
            name=op.f("ck_points_ownership"),
        ),
        sa.CheckConstraint(
            "status IN ('online', 'offline', 'fault', 'unknown')", name=op.f("ck_points_status")
        ),
        sa.CheckConstraint(
            "(device_id IS NULL) = (address IS NULL)", name=op.f("ck_points_source_is_whole")
        ),
        sa.CheckConstraint(
            "(longitude IS NULL) = (latitude IS NULL)", name=op.f("ck_points_position_is_whole")
        ),
        sa.CheckConstraint("category IN (1, 2, 3, 9)", name=op.f("ck_points_category")),
        sa.CheckConstraint(
            "longitude BETWEEN -180 AND 180 AND latitude BETWEEN -90 AND 90",
            name=op.f("ck_points_position"),
        ),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_points_device_id_devices")
        ),
        sa.ForeignKeyConstraint(
            ["home_id"], ["organizations.id"], name=op.f("fk_points_home_id_organizations")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_points_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_points")),
        sa.UniqueConstraint("code", name=op.f("uq_points_code")),
        sa.UniqueConstraint("device_id", "address", name=op.f("uq_points_device_id_address")),
    )
    op.create_index(op.f("ix_points_home_id"), "points", ["home_id"])
    op.create_index(op.f("ix_points_host_channel_number"), "points", ["host", "channel_number"])
    op.create_index(op.f("ix_points_latitude_longitude"), "points", ["latitude", "longitude"])
    op.create_index(op.f("ix_points_organization_id_id"), "points", ["organization_id", "id"])
    op.create_index(
        op.f("ix_points_organization_id_status_assigned_by"),
        "points",
        ["organization_id", "status", "assigned_by"],
    )
    op.create_table(
        "unit_addresses",
        sa.Column("system_id", ID, nullable=False),
        sa.Column("address", sa.String(length=200), nullable=False),
        sa.Column("unit_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["system_id"], ["systems.id"], name=op.f("fk_unit_addresses_system_id_systems")
        ),
        sa.ForeignKeyConstraint(
            ["unit_id"],
            ["units.id"],
            name=op.f("fk_unit_addresses_unit_id_units"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("system_id", "address", name=op.f("pk_unit_addresses")),
    )
    op.create_index(op.f("ix_unit_addresses_unit_id"), "unit_addresses", ["unit_id"])
    op.create_table(
        "patch_members",
        sa.Column("patch_id", ID, nullable=False),
        sa.Column("channel_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "direction IN ('both', 'talk', 'listen')", name=op.f("ck_patch_members_direction")
        ),
        sa.CheckConstraint("priority BETWEEN 0 AND 255", name=op.f("ck_patch_members_priority")),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channels.id"], name=op.f("fk_patch_members_channel_id_channels")
        ),
        sa.ForeignKeyConstraint(
            ["patch_id"],
            ["patches.id"],
            name=op.f("fk_patch_members_patch_id_patches"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("patch_id", "channel_id", name=op.f("pk_patch_members")),
    )
    op.create_index(op.f("ix_patch_members_channel_id"), "patch_members", ["channel_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_patch_members_channel_id"), table_name="patch_members")
    op.drop_table("patch_members")
    op.drop_index(op.f("ix_unit_addresses_unit_id"), table_name="unit_addresses")
    op.drop_table("unit_addresses")
    op.drop_index(op.f("ix_points_organization_id_status_assigned_by"), table_name="points")
    op.drop_index(op.f("ix_points_organization_id_id"), table_name="points")
    op.drop_index(op.f("ix_points_latitude_longitude"), table_name="points")
    op.drop_index(op.f("ix_points_host_channel_number"), table_name="points")
    op.drop_index(op.f("ix_points_home_id"), table_name="points")
    op.drop_table("points")
    op.drop_index(op.f("ix_channels_organization_id"), table_name="channels")
    op.drop_table("channels")
    op.drop_index(op.f("ix_units_organization_id"), table_name="units")
    op.drop_table("units")
    op.drop_index(op.f("ix_systems_organization_id"), table_name="systems")
    op.drop_table("systems")
    op.drop_index(op.f("ix_sessions_user_id"), table_name="sessions")
    op.drop_index(op.f("ix_sessions_expires_at"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("ix_roles_organization_id"), table_name="roles")
    op.drop_table("roles")
    op.drop_index(op.f("ix_patches_organization_id"), table_name="patches")
    op.drop_table("patches")
    op.drop_index(op.f("ix_devices_organization_id"), table_name="devices")
    op.drop_index(op.f("ix_devices_endpoint_reference"), table_name="devices")
    op.drop_table("devices")
    op.drop_table("users")
    op.drop_index(op.f("ix_organizations_west_deg_east_deg"), table_name="organizations")
    op.drop_index(op.f("ix_organizations_parent_id"), table_name="organizations")
    op.drop_table("organizations")
    op.drop_index(op.f("ix_jobs_state"), table_name="jobs")
    op.drop_table("jobs")
    op.drop_index(op.f("ix_changes_organization_path_id"), table_name="changes")
    op.drop_index(op.f("ix_changes_kind_object_id"), table_name="changes")
    op.drop_table("changes")
