export function encode(text: string, options?: { ecc?: string; border?: number }): { size: number; data: boolean[][] };
