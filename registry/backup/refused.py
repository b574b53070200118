"""Why a backup is not made, or not restored, in English and Chinese."""

from collections.abc import Mapping

from registry.errors import RegistryError

TEXTS: Mapping[str, tuple[str, str]] = {
    # the file
    "no_backup": (
        "{file} is no backup of Hutong, or it was cut short",
        "{file} 不是胡同的备份文件，或者文件不完整",
    ),
    "unreadable": ("{file} cannot be read: {why}", "无法读取 {file}：{why}"),
    "newer_format": (
        "{file} was made by Hutong {made_by}, whose backups this version {version} cannot read: "
        "use that version",
        "{file} 由胡同 {made_by} 生成，当前版本 {version} 无法读取：请使用该版本",
    ),
    "newer_schema": (
        "{file} was made by Hutong {made_by} with tables of step {revision} ({part}), newer than "
        "this version {version}, which ends at {newest}: use Hutong {made_by} or newer",
        "{file} 由胡同 {made_by} 生成，{part} 的表结构为 {revision}，高于当前版本 {version} 的 "
        "{newest}：请使用胡同 {made_by} 或更高版本",
    ),
    "member_missing": ("{file} is not whole: {member} is missing", "{file} 不完整：缺少 {member}"),
    "member_unknown": (
        "{file} holds {member}, which no backup has: it is not restored",
        "{file} 含有备份中不应有的 {member}：不予恢复",
    ),
    "member_damaged": (
        "{file} is damaged: {member} is not what was backed up",
        "{file} 已损坏：{member} 与备份时的内容不符",
    ),
    "unpacks_to_too_much": (
        "{file} says that it unpacks to {bytes} bytes, which no backup of its size does",
        "{file} 声称解压后有 {bytes} 字节，与其大小不符",
    ),
    "does_not_fit": (
        "{file} does not fit its own step {revision}: {member}: {why}",
        "{file} 与其表结构 {revision} 不符：{member}：{why}",
    ),
    "cannot_be_stored": (
        "{member} of {file} holds what this database cannot store: {why}",
        "{file} 中的 {member} 含有此数据库无法保存的内容：{why}",
    ),
    "exists": (
        "{file} is there already: give another name, or --force to replace it",
        "{file} 已存在：请换一个文件名，或用 --force 覆盖",
    ),
    "being_written": ("another backup is writing {file}", "另一个备份正在写入 {file}"),
    "not_written": ("{file} cannot be written: {why}", "无法写入 {file}：{why}"),
    # the database
    "nothing_there": (
        "there is nothing to back up at {database}: run this with the settings of the gateway "
        "(HUTONG_DATA_DIR, HUTONG_DATABASE_URL)",
        "{database} 没有可备份的内容：请使用网关的设置运行（HUTONG_DATA_DIR、HUTONG_DATABASE_URL）",
    ),
    "newer_database": (
        "the database at {database} was made by a newer version: {part} is at step {revision}",
        "{database} 由更高版本生成：{part} 的表结构为 {revision}",
    ),
    "not_empty": (
        "the database at {database} is not empty ({table} has rows): --force replaces everything "
        "in it",
        "{database} 不是空的（{table} 中有数据）：--force 将替换其中的全部内容",
    ),
    "unreadable_there": (
        "the database at {database} is there and cannot be read ({why}): --force replaces it",
        "{database} 已存在但无法读取（{why}）：--force 将替换它",
    ),
    "in_use": (
        "{place} is in use by a gateway or another command of Hutong: end it first",
        "{place} 正被网关或胡同的其他命令使用：请先停止",
    ),
    # the key
    "no_key": (
        "there is no secret key at {key}, but {count} passwords sealed with one: run this with the "
        "settings of the gateway (HUTONG_SECRET_KEY), or with --without-key",
        "{key} 没有密钥，但有 {count} 个用密钥封存的密码：请使用网关的设置运行"
        "（HUTONG_SECRET_KEY），或使用 --without-key",
    ),
    "wrong_key": (
        "the secret key opens none of the {count} sealed passwords: run this with the settings of "
        "the gateway (HUTONG_SECRET_KEY), or with --without-key",
        "密钥无法打开 {count} 个已封存密码中的任何一个：请使用网关的设置运行"
        "（HUTONG_SECRET_KEY），或使用 --without-key",
    ),
    "other_key": (
        "HUTONG_SECRET_KEY is set, and is not the key that is in {file}: unset it, so that the "
        "key of the backup goes into the data directory",
        "已设置 HUTONG_SECRET_KEY，但与 {file} 中的密钥不同：请取消该设置，"
        "备份中的密钥将写入数据目录",
    ),
}


class BackupRefused(RegistryError):
    """reason: one of `TEXTS`; values: what stands in its text."""

    def __init__(self, reason: str, **values: object) -> None:
        self.reason, self.values = reason, values
        super().__init__(self.text("en"))

    def text(self, language: str) -> str:
        """language: ``en`` or ``zh``."""
        return TEXTS[self.reason][language == "zh"].format(**self.values)
