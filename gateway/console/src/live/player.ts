/** What a live session needs of a way to show pictures. */
export interface Player {
  /** A text message, as it came. */
  text(message: string): void
  /** A binary message, as it came. */
  binary(message: ArrayBuffer): void
  /** Whether its sound is to be heard. */
  setAudible(on: boolean): void
  close(): void
}

export interface PlayerEvents {
  /** A picture is on the screen. */
  picture(width: number, height: number): void
  /** The stream has sound that this player can play. */
  sound(): void
  /** This browser cannot play it this way: the next way is tried. */
  unsupported(reason: string): void
}
